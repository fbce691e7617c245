"""Files of torch.save, read and written without PyTorch; what PyTorch itself makes of them."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from lst_jax.convert import torch_file
from lst_jax.convert.source import Stored

ARRAYS = {
    "norm.weight": np.arange(5, dtype=np.float32),
    "ü.weight": np.arange(12, dtype=np.float32).reshape(3, 4) - 0.1,
    "one": np.array(3.5, np.float32),
}


@pytest.fixture
def path(tmp_path):
    stored = {name: Stored(array.shape, lambda array=array: array) for name, array in ARRAYS.items()}
    torch_file.write_tensors(tmp_path / "consolidated.pth", stored, "model")
    return tmp_path / "consolidated.pth"


def arrays_of(state):
    return {name: one.stored(name).read() for name, one in state.items()}


def assert_equal(found):
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_what_is_written_is_read_again_and_lies_where_it_can_be_mapped(path):
    state = torch_file.read(path)
    assert_equal(arrays_of(state["model"]))
    assert all(one.begin % torch_file.ALIGNMENT == 0 for one in state["model"].values())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_pytorch_reads_what_is_written(path):
    torch = pytest.importorskip("torch")
    for options in ({}, {"mmap": True}):
        state = torch.load(path, weights_only=True, **options)
        assert_equal({name: value.numpy() for name, value in state["model"].items()})


def test_pytorch_reads_bfloat16_that_is_written(tmp_path):
    torch = pytest.importorskip("torch")
    stored = {name: Stored(array.shape, lambda array=array: array) for name, array in ARRAYS.items()}
    torch_file.write_tensors(tmp_path / "half.pth", stored, "model", dtype="bfloat16")
    state = torch.load(tmp_path / "half.pth", weights_only=True)
    for name, array in ARRAYS.items():
        assert state["model"][name].dtype == torch.bfloat16
        assert torch.equal(state["model"][name], torch.from_numpy(array).bfloat16())


def test_views_modules_and_an_optimizer_of_pytorch_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    module = torch.nn.Linear(2, 3).bfloat16()
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 2).bfloat16()).sum().backward()
    optimizer.step()
    state = {
        "model": {"view": base.T[1:, ::2], "half": base.half()} | module.state_dict(),
        "optim": optimizer.state_dict(),
    }
    state |= {
        "module": module.state_dict(),
        "parameter": torch.nn.Parameter(base),
        "shape": base.shape,
        "type": base.dtype,
    }
    torch.save(state, tmp_path / "x.pth")
    found = torch_file.read(tmp_path / "x.pth")
    for name, value in state["model"].items():
        np.testing.assert_array_equal(found["model"][name].stored(name).read(), value.float().numpy(), strict=True)
    assert found["optim"]["param_groups"][0]["lr"] == 1e-3


class Program:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_program_is_not_run(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({"model": Program(tmp_path / "harm")}, 2))
    with pytest.raises(torch_file.NotPlainTensors, match="mkdir"):
        torch_file.read(tmp_path / "x.pth")
    assert not (tmp_path / "harm").exists()


def test_a_tensor_beyond_its_file_is_refused(path, tmp_path):
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "short.pth", "w") as short:
        for name in archive.namelist():
            short.writestr(name, archive.read(name)[: 8 if name.endswith("data/1") else None])
    with pytest.raises(torch_file.NotPlainTensors, match="beyond its file"):
        torch_file.read(tmp_path / "short.pth")
