import pickle
import types

import numpy as np
import pytest
import safetensors.numpy
import tiny_models

from lst_jax.cli import main
from lst_jax.prepare.acoustic.units import Quantizer

CENTROIDS = np.random.default_rng(0).normal(size=(10, 32)).astype(np.float32)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return self.path.touch, ()


@pytest.fixture
def directory(tmp_path):
    return tiny_models.write(tmp_path / "model", "hubert_25hz")


def run(directory, *arguments):
    return main.main(["prepare", "units-convert", str(directory), "--layer", "2", *map(str, arguments)])


def assert_centroids(directory):
    found = Quantizer.load(directory / "units.safetensors")
    assert (found.fingerprint, found.layer) == (Quantizer.from_centroids(CENTROIDS, 2).fingerprint, 2)


def test_numbers_of_numpy_and_safetensors_are_read_without_asking(directory, tmp_path, capsys):
    np.save(tmp_path / "c.npy", CENTROIDS)
    assert run(directory, "--centroids", tmp_path / "c.npy") == 0
    assert_centroids(directory)
    assert "10 units of layer 2 at 25 Hz" in capsys.readouterr().out
    safetensors.numpy.save_file({"centroids": CENTROIDS}, tmp_path / "c.safetensors")
    (directory / "units.safetensors").unlink()
    assert run(directory, "--centroids", tmp_path / "c.safetensors") == 0
    assert_centroids(directory)


@pytest.mark.parametrize("suffix", [".bin", ".npy"])
def test_a_pickle_does_not_run_unless_a_person_agrees(suffix, directory, tmp_path, monkeypatch, capsys):
    path, sign = tmp_path / f"km{suffix}", tmp_path / "sign"
    path.write_bytes(pickle.dumps(Trap(sign)))
    for terminal, typed in ((False, None), (True, ""), (True, "yes")):
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(isatty=lambda terminal=terminal: terminal))
        monkeypatch.setattr("builtins.input", lambda prompt, typed=typed: typed)
        assert run(directory, "--centroids", path) == 3
        assert not sign.exists()
    assert ("pass --yes" if suffix == ".bin" else "cannot be read as numbers") in capsys.readouterr().err
    if suffix == ".bin":
        assert run(directory, "--centroids", path, "--yes") == 3  # it runs, and is no k-means
        assert sign.exists()


def test_a_trusted_pickle_gives_its_centroids(directory, tmp_path, monkeypatch):
    path = tmp_path / "km10.bin"
    path.write_bytes(pickle.dumps(types.SimpleNamespace(cluster_centers_=CENTROIDS)))
    assert run(directory, "--centroids", path, "--yes") == 0
    assert_centroids(directory)
    (directory / "units.safetensors").unlink()
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda prompt: "km10.bin")
    assert run(directory, "--centroids", path) == 0
    assert_centroids(directory)


def test_scikit_learn_files_are_read(directory, tmp_path):
    cluster, joblib = pytest.importorskip("sklearn.cluster"), pytest.importorskip("joblib")
    model = cluster.MiniBatchKMeans(4, n_init=1, random_state=0).fit(CENTROIDS)
    joblib.dump(model, tmp_path / "km.bin")
    (tmp_path / "km.pkl").write_bytes(pickle.dumps(model))
    for name in ("km.bin", "km.pkl"):
        assert run(directory, "--centroids", tmp_path / name, "--yes") == 0
        found = Quantizer.load(directory / "units.safetensors")
        assert found.fingerprint == Quantizer.from_centroids(model.cluster_centers_, 2).fingerprint


def test_linear_layers_come_from_safetensors_and_torch(directory, tmp_path):
    weight_VD, bias_V = CENTROIDS, np.arange(10, dtype=np.float32)
    path = tmp_path / "q.safetensors"
    safetensors.numpy.save_file({"proj.weight": weight_VD, "proj.bias": bias_V}, path)
    assert run(directory, "--linear", path, "--blank", 9) == 0
    expected = Quantizer(weight_VD.T, bias_V, 2, 9).fingerprint
    assert Quantizer.load(directory / "units.safetensors").fingerprint == expected
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": {"w": torch.tensor(weight_VD), "b": torch.tensor(bias_V)}}, tmp_path / "q.pt")
    (directory / "units.safetensors").unlink()
    assert run(directory, "--linear", tmp_path / "q.pt", "--blank", 9) == 0
    assert Quantizer.load(directory / "units.safetensors").fingerprint == expected
    torch.save(Trap(tmp_path / "sign"), tmp_path / "q.pt")
    assert run(directory, "--linear", tmp_path / "q.pt") == 3 and not (tmp_path / "sign").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--centroids", "missing.npy"], "no such file"),
        (["--centroids", "c.npy", "--blank", "0"], "k-means has no blank"),
        (["--centroids", "c.npy", "--layer", "4"], "--layer=4: must lie in 0..3"),
        (["--centroids", "narrow.npy"], "frames of width 16, the model's have 32"),
        (["--centroids", "integers.npy"], "must hold finite centroids"),
        (["--linear", "c.npy"], "must end in .safetensors, .pt or .pth"),
        (["--linear", "two.safetensors"], "must hold one weight"),
        (["--centroids", "two.safetensors"], "leave the centroids alone"),
    ],
)
def test_wrong_sources_are_one_line_errors(arguments, words, directory, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("c.npy", CENTROIDS)
    np.save("narrow.npy", CENTROIDS[:, :16])
    np.save("integers.npy", CENTROIDS.astype(int))
    safetensors.numpy.save_file({"a": CENTROIDS, "b": CENTROIDS}, "two.safetensors")
    assert run(directory, *arguments) == 3
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1
    assert not (directory / "units.safetensors").exists()
