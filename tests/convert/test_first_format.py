"""A run of the first format of checkpoints, committed beside this, opens and converts, and computes what it did."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy

from lst_jax.checkpoints.trained_model import load_trained_model
from lst_jax.cli import main
from lst_jax.convert import orbax, streamed
from lst_jax.convert.inputs import Inputs
from lst_jax.model.architectures.registry import build
from lst_jax.runs.directory import RunDirectory

# parity's tolerance: the logits were recorded on another processor, whose float32 sums round otherwise (1.2e-5 seen)
ATOL = 1e-4
HERE = pathlib.Path(__file__).parent / "first_format"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A copy whose configuration names the tokenizer where it lies here."""
    folder = tmp_path_factory.mktemp("first") / "run"
    shutil.copytree(HERE / "run", folder)
    config = json.loads((folder / "config.json").read_text())
    config["data"]["tokenizer"] = str(HERE / "tokenizer.model")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def recorded():
    """What the code that wrote the run computed from it."""
    tensors = safetensors.numpy.load_file(HERE / "logits.safetensors")
    return Inputs(tensors["tokens"], *(tensors[name].astype(bool) for name in ("patch_start", "patch_end"))), tensors[
        "logits"
    ]


def test_it_is_of_the_first_format(run):
    assert orbax.StepFolder(run / "checkpoints", 3).meta["format_version"] == 1
    assert "mesh" not in json.loads((run / "config.json").read_text())


def test_its_parameters_are_restored_and_compute_what_they_did(run, recorded):
    inputs, logits = recorded
    restored = load_trained_model(RunDirectory(run), one_device=True)
    assert restored.step == 3
    model = build(dataclasses.replace(restored.config.model, attention_block=16), restored.config.joint_vocab, 12)
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(model)(
            restored.params, inputs.token_BT, np.ones_like(inputs.token_BT), inputs.patch_start_BT, inputs.patch_end_BT
        )
    np.testing.assert_allclose(ours, logits, atol=ATOL)
    assert np.abs(logits).max() > 1


@pytest.mark.parametrize("to", [pytest.param("ancestor", marks=pytest.mark.slow), "orbax"])
def test_it_converts_and_computes_what_it_did(run, recorded, tmp_path, to):
    inputs, logits = recorded
    assert main.main(["convert", str(run), str(tmp_path / "there"), "--to", to]) == 0
    assert main.main(["convert", str(tmp_path / "there"), str(tmp_path / "back"), "--to", "orbax"]) == 0
    source = orbax.open_source(tmp_path / "back")
    np.testing.assert_allclose(streamed.logits(source, inputs), logits, atol=ATOL)
    for path, one in orbax.open_source(run).arrays.items():
        np.testing.assert_array_equal(one.read(), source.arrays[path].read(), strict=True)
