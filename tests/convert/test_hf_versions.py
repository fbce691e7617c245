"""Exports give our logits under transformers 4 and 5, each in a process of its own without this package.

The environments are those of `make test-extras`. Variables name others: LST_TRANSFORMERS_4=/venv/bin/python.
"""

import os
import pathlib
import subprocess

import jax
import llama_cases
import numpy as np
import pytest
from hf_lst_cases import (
    KINDS,
    LENGTH,
    MODELS,
    aligned_boundaries,
    boundaries,
    built,
    config_of,
    document,
    restarted_boundaries,
    source_of,
)

from lst_jax.convert import hf_llama, hf_lst

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT, SCRIPT_OF_BASE = (ROOT / "tests" / "helpers" / name for name in ("other_side.py", "other_side_base.py"))
ENVIRONMENTS = {"LST_TRANSFORMERS_4": ".venv-transformers-4", "LST_TRANSFORMERS_5": ".venv-transformers-5"}
# model, how patches lie in its documents, and changes to the run
CASES = {
    "two-queries": ("two-queries", boundaries, {}),
    "wider-windows": ("wider-windows", boundaries, {}),
    "bypass": ("bypass-with-wider-windows", boundaries, {}),
    "marker-opens-patch": (
        "two-queries",
        lambda token: boundaries(token, marker_counts=True),
        {"strategy": "static", "marker_opens_patch": True},
    ),
    "given-aligned": ("wider-windows", aligned_boundaries, {"strategy": "aligned"}),
    "given-restart": ("bypass", restarted_boundaries, {}),
}


def exported(name, folder):
    """Writes the model and what it must give."""
    model_name, rule, changes = CASES[name]
    (folder / name / "model").mkdir(parents=True)
    model, params = built(model_name)
    hf_lst.write(source_of(config_of(MODELS[model_name], **changes), params), folder / name / "model")
    rng = np.random.default_rng(11)
    tokens = [document(rng, kinds) for kinds in KINDS]
    rows = [np.zeros((len(tokens), LENGTH), kind) for kind in (np.int32, np.int32, bool, bool)]
    for i, token in enumerate(tokens):
        for row, values in zip(rows, (token, np.ones(len(token)), *rule(token)), strict=True):
            row[i, : len(token)] = values
    logits = np.asarray(jax.jit(model)(params, *rows))
    np.savez(
        folder / name / "expected.npz",
        token=rows[0],
        length=rows[1].sum(1),
        starts=rows[2],
        ends=rows[3],
        logits=logits,
    )
    return folder / name


def exported_base(name, folder):
    """Writes a Base of one family and what it must give."""
    config = llama_cases.family_config(name)
    (folder / "model").mkdir(parents=True)
    source, inputs = llama_cases.source_of(config), llama_cases.inputs_for(config, length=40)
    hf_llama.write(source, folder / "model")
    np.savez(folder / "expected.npz", token=inputs.token_BT, logits=llama_cases.our_logits(source, inputs))


@pytest.mark.parametrize("variable", ENVIRONMENTS)
def test_every_version_gives_the_logits_of_bases_of_each_family(variable, tmp_path):
    python = python_of(variable)
    for name in llama_cases.FAMILIES:
        exported_base(name, tmp_path / "models" / name)
    run(python, SCRIPT_OF_BASE, tmp_path / "models", variable, tmp_path)


@pytest.mark.parametrize("variable", ENVIRONMENTS)
@pytest.mark.parametrize("name", CASES)
def test_every_version_gives_our_logits_cached_and_not(name, variable, tmp_path):
    python = python_of(variable)
    run(python, SCRIPT, exported(name, tmp_path), variable, tmp_path)


def python_of(variable):
    """The interpreter of an environment; skips the test where there is none."""
    python = pathlib.Path(os.environ.get(variable, ROOT / ENVIRONMENTS[variable] / "bin" / "python"))
    if not python.is_file():
        pytest.skip(f"{python}: no such environment; run make test-extras, or set {variable}")
    return python


def run(python, script, folder, variable, tmp_path):
    """Runs the other side, which must be of the major version that the variable names."""
    ran = subprocess.run(
        [str(python), "-I", str(script), str(folder)],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=tmp_path,
        env={"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.split(".")[0] == variable[-1]
