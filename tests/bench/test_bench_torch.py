"""`lst bench torch` measures the same rows on both sides; all but the first test need torch."""

import argparse
import dataclasses
import json
import sys

import jax
import numpy as np
import pytest
import synthetic_data

from lst_jax import config as cfg
from lst_jax.bench import torch_step
from lst_jax.bench.torch_step import JAX, PADDED, TORCH
from lst_jax.cli import bench
from lst_jax.core.errors import DataError
from lst_jax.data import made_up
from lst_jax.parallel.sharding import one_device
from lst_jax.recipes.validate import validate
from lst_jax.step import update as train_step


@pytest.fixture(autouse=True)
def few_records(monkeypatch):
    monkeypatch.setattr(made_up, "UTTERANCES", 30)
    monkeypatch.setattr(made_up, "TEXTS", 10)


def small_config(strategy="curriculum", speech_tokens=None, speech_patches=None):
    config = synthetic_data.make_config(
        tokens=80,
        units=64 if strategy != "none" else 80,
        rows=2,
        strategy=strategy,
        text_size=made_up.PIECES - 9,
        speech_tokens=speech_tokens,
        speech_patches=speech_patches,
    )
    stack = cfg.StackConfig(1, 16, 2, 8)
    local = None if strategy == "none" else stack
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            config.model,
            patch_encoder=local,
            patch_decoder=local,
            ffn_multiple=8,
            global_transformer=cfg.StackConfig(1, 16, 2, None),
        ),
    )


def run_command(tmp_path, config, *options):
    recipe = tmp_path / "small.py"
    recipe.write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config(arg):\n"
        f"    return ConfigDict({cfg.to_mapping(config)!r})\n"
    )
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser.add_subparsers(dest="command"))
    args = parser.parse_args(["bench", "torch", "--config", str(recipe), "--steps", "1", *options])
    return args.run(args)


def test_without_torch_the_command_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DataError, match="torch: cannot be imported .*; pip install") as error:
        run_command(tmp_path, small_config())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("option", "value"), [("--steps", "0"), ("--units", "8")])
def test_numbers_too_small_to_measure_are_refused(tmp_path, option, value):
    with pytest.raises(DataError, match=f"{option} {value}: must be"):
        run_command(tmp_path, small_config(), option, value)


def test_padding_changes_the_length_of_rows_and_nothing_else():
    batch, _ = made_up.made_up_batches(small_config(), 1)[0]
    padded = torch_step.pad_like_the_ancestor(batch, 64)
    assert padded.token_BT.shape == (2, 3 * 64)
    for before, after in zip(batch, padded, strict=True):
        np.testing.assert_array_equal(after[:, :80], before)
        assert after.dtype == before.dtype and not after[:, 80:].any()


def test_long_rows_keep_the_proportions_of_the_recipe():
    config = torch_step.with_long_rows(small_config(speech_tokens=40, speech_patches=20), 256)
    data = config.data
    assert (data.rows, data.row_patches, data.row_tokens) == (1, 256, 320)
    assert (data.row_speech_tokens, data.row_speech_patches) == (160, 80)
    validate(config)


@pytest.mark.parametrize("strategy", ["curriculum", "none"])
def test_command_measures_both_sides_and_writes_its_section(tmp_path, capsys, strategy):
    pytest.importorskip("torch")
    results = tmp_path / "results.md"
    assert run_command(tmp_path, small_config(strategy), "--units", "128", "--json", "--markdown", str(results)) == 0
    measured = json.loads(capsys.readouterr().out)
    short, long = measured["cases"]
    assert list(short["sides"]) == [JAX, TORCH]
    assert list(long["sides"]) == ([JAX, TORCH] if strategy == "none" else [JAX, TORCH, PADDED])
    for case in (short, long):
        for side in case["sides"].values():
            assert side["tokens_per_sec"] == pytest.approx(case["tokens"] / side["seconds"])
            assert side["ratio"] == pytest.approx(side["seconds"] / case["sides"][JAX]["seconds"])
    assert "## Beside PyTorch: test" in results.read_text() and "torch 2" in results.read_text()


def test_sides_that_compute_different_things_are_not_compared():
    pytest.importorskip("torch")
    config = small_config()
    model = train_step.build_model(config, one_device())
    params = jax.device_get(model.init_params(jax.random.key(0)))
    batches = [batch for batch, _ in made_up.made_up_batches(config, 1)]
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, norm_eps=1.0))
    settings = torch_step.Settings(None, 1)
    sides = {
        JAX: torch_step.jax_step(config, model, params, batches),
        TORCH: torch_step.torch_step(other, params, batches, settings),
    }
    with pytest.raises(DataError, match="the loss of PyTorch is"):
        torch_step._alternate("rows", sides, 1, 1e-3)
