"""k-means: exact assignment, recovered clusters, determinism."""

import numpy as np

from lst_jax.prepare.speech_tokenizers import kmeans


def test_assignment_equals_brute_force_across_chunks(monkeypatch):
    monkeypatch.setattr(kmeans, "CHUNK", 7)
    rng = np.random.default_rng(0)
    rows, centroids = rng.normal(size=(50, 6)).astype(np.float32), rng.normal(size=(9, 6)).astype(np.float32)
    labels, distances = kmeans.assign(rows, centroids)
    table = ((rows[:, None].astype(float) - centroids) ** 2).sum(-1)
    np.testing.assert_array_equal(labels, table.argmin(1))
    np.testing.assert_allclose(distances, table.min(1), rtol=1e-4, atol=1e-5)


def test_well_separated_clusters_are_found():
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(20, 8)) * 30
    rows = (centres[np.arange(2000) % 20] + rng.normal(size=(2000, 8))).astype(np.float32)
    found = kmeans.fit(rows, 20, seed=3)
    nearest = ((found[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert sorted(nearest) == list(range(20))
    assert np.abs(found - centres[nearest]).max() < 0.6


def test_lloyd_ends_where_every_centroid_is_the_mean_of_its_rows():
    rows = np.random.default_rng(2).normal(size=(400, 3)).astype(np.float32)
    centroids = kmeans.fit(rows, 10, seed=0, iterations=200)
    again, _ = kmeans.assign(rows, centroids)
    means = np.stack([rows[again == k].mean(0) for k in range(10)])
    assert np.abs(means - centroids).max() < 0.05


def test_the_seed_decides_and_nothing_else():
    rows = np.random.default_rng(4).normal(size=(300, 5)).astype(np.float32)
    first, second, other = (kmeans.fit(rows, 12, seed) for seed in (7, 7, 8))
    assert first.tobytes() == second.tobytes() != other.tobytes()


def test_repeated_rows_fewer_than_k_leave_no_nan():
    rows = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    centroids = kmeans.fit(rows, 8, seed=0)
    assert centroids.shape == (8, 3) and np.isfinite(centroids).all()
    assert kmeans.assign(rows, centroids)[1].max() < 1e-6
