"""k-means: seeding, Lloyd's iterations and assignment, in numpy alone.

The same features in the same order give the same centroids on the same machine. Distances are made in chunks, so
memory stays small.
"""

import numpy as np
import tqdm

CHUNK = 4096  # rows whose distances exist at one time
SEEDING_ROWS = 20_000  # k-means++ looks at no more rows than these
STOP = 1e-4  # relative fall of the inertia below which iterating ends


def fit(features: np.ndarray, k: int, seed: int, iterations: int = 50, progress: bool = False) -> np.ndarray:
    """Centroids float32 [k, dims] of `features` float32 [rows, dims], rows >= k; k-means++, then Lloyd.

    A centroid that loses all its rows moves to the row that is farthest from its own.
    """
    assert len(features) >= k
    rng = np.random.default_rng(seed)
    rows = features
    if len(rows) > max(SEEDING_ROWS, k):
        rows = rows[np.sort(rng.choice(len(rows), max(SEEDING_ROWS, k), replace=False))]
    centroids = _plus_plus(rows, k, rng)
    before = np.inf
    for _ in tqdm.trange(iterations, desc="k-means", unit="iteration", disable=not progress):
        labels, distances = assign(features, centroids)
        centroids = _means(features, labels, distances, k)
        inertia = float(distances.sum(dtype=np.float64))
        if before - inertia <= STOP * inertia:
            break
        before = inertia
    return centroids


def assign(features: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest centroid int64 [rows] of each row and its squared distance [rows]; the arithmetic of the inputs' type."""
    labels = np.empty(len(features), np.int64)
    distances = np.empty(len(features), features.dtype)
    half = 0.5 * np.einsum("kd,kd->k", centroids, centroids)
    for start in range(0, len(features), CHUNK):
        rows = features[start : start + CHUNK]
        score = rows @ centroids.T - half  # largest where the distance is smallest
        best = score.argmax(axis=1)
        labels[start : start + CHUNK] = best
        nearest = np.take_along_axis(score, best[:, None], axis=1)[:, 0]
        distances[start : start + CHUNK] = np.maximum(np.einsum("rd,rd->r", rows, rows) - 2 * nearest, 0)
    return labels, distances


def _plus_plus(rows: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Seeds drawn with probability proportional to the squared distance to the nearest seed so far."""
    norms = np.einsum("rd,rd->r", rows, rows)
    chosen = [int(rng.integers(len(rows)))]
    nearest = np.full(len(rows), np.inf)
    while len(chosen) < k:
        last = chosen[-1]
        nearest = np.minimum(nearest, np.maximum(norms - 2 * (rows @ rows[last]) + norms[last], 0))
        nearest[chosen] = 0
        total = np.cumsum(nearest, dtype=np.float64)
        if total[-1] > 0:
            row = int(np.searchsorted(total, rng.uniform() * total[-1], side="right"))
            chosen.append(min(row, len(rows) - 1))
        else:  # fewer distinct rows than k
            chosen.append(int(rng.integers(len(rows))))
    return rows[chosen].copy()


def _means(features: np.ndarray, labels: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=k)
    used = counts > 0
    starts = (np.cumsum(counts) - counts)[used]
    means = np.empty((k, features.shape[1]), features.dtype)
    means[used] = np.add.reduceat(features[order], starts, axis=0) / counts[used, None]
    means[~used] = features[np.argsort(-distances, kind="stable")[: k - used.sum()]]
    return means
