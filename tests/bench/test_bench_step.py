"""What `lst bench step` reports is of the step that training runs, whole and in parts."""

import argparse
import dataclasses
import json

import jax
import numpy as np
import pytest
import synthetic_data

from lst_jax import config as cfg
from lst_jax.bench import memory, step
from lst_jax.cli import bench
from lst_jax.core.errors import DataError
from lst_jax.data import made_up
from lst_jax.model.architectures import registry
from lst_jax.parallel.sharding import one_device
from lst_jax.step import update as train_step


@pytest.fixture(autouse=True)
def few_records(monkeypatch):
    monkeypatch.setattr(made_up, "UTTERANCES", 30)
    monkeypatch.setattr(made_up, "TEXTS", 10)


def small_config(strategy="curriculum"):
    config = synthetic_data.make_config(tokens=64, units=64, rows=2, strategy=strategy, text_size=made_up.PIECES - 9)
    stack = cfg.StackConfig(1, 16, 2, 8)
    local = None if strategy == "none" else stack
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            config.model,
            patch_encoder=local,
            patch_decoder=local,
            ffn_multiple=8,
            global_transformer=cfg.StackConfig(3, 16, 2, None),
            scan_layers=True,
        ),
    )


@pytest.mark.parametrize("strategy", ["curriculum", pytest.param("none", marks=pytest.mark.slow)])
def test_the_parts_one_after_the_other_give_the_model_s_own_losses(strategy):
    config = small_config(strategy)
    model = registry.build(config.model, config.joint_vocab, config.data.row_patches)
    params = jax.jit(model.init_params)(jax.random.key(0))
    batch, stats = made_up.made_up_batches(config, 1)[0]
    assert batch.token_BT.max() < config.joint_vocab.size and stats["tokens"] == (batch.doc_id_BT > 0).sum()
    batch = train_step.put_batch(batch, one_device())
    *_, (loss, args) = step.part_functions(config, model, params, batch).values()
    whole = jax.jit(lambda params, batch: train_step.per_token_nll(config, model, params, batch)[0])
    np.testing.assert_allclose(jax.jit(loss)(*args), whole(params, batch), atol=1e-5)


def test_unrolled_flops_see_every_layer_though_the_step_is_scanned():
    config = small_config()
    batch = train_step.put_batch(made_up.made_up_batches(config, 1)[0][0], one_device())
    width, ffn, positions = 16, config.model.ffn_width(16), 2 * 64

    def flops(layers):
        stack = dataclasses.replace(config.model.global_transformer, layers=layers)
        deeper = dataclasses.replace(config, model=dataclasses.replace(config.model, global_transformer=stack))
        return step.unrolled_flops(deeper, one_device(), batch)

    products = 3 * 2 * positions * (4 * width**2 + 3 * width * ffn)  # forward and backward, without attention
    assert products < (flops(8) - flops(3)) / 5 < 3 * products


@pytest.mark.slow
def test_command_prints_json_and_writes_its_section(tmp_path, capsys, monkeypatch):
    recipe, results = tmp_path / "small.py", tmp_path / "results.md"
    recipe.write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config(arg):\n"
        f"    return ConfigDict({cfg.to_mapping(small_config())!r})\n"
    )
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser.add_subparsers(dest="command"))
    args = parser.parse_args(
        ["bench", "step", "--config", str(recipe), "--steps", "2", "--json", "--markdown", str(results)]
        + ["--rows", "4", "--set", "model.scan_layers=false"]
    )
    assert args.run(args) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["rows"] == 4 and not measured["scan_layers"] and measured["rows_that_fit"] > 4
    assert "--set model.scan_layers=false --rows 4 --steps 2" in results.read_text()
    assert measured["tokens_per_sec"] == pytest.approx(measured["tokens"] / measured["seconds"])
    assert measured["peak_bytes"] > 3 * 4 * measured["parameters"]  # parameters and both moments
    assert measured["mfu"] * measured["peak_flops"] * measured["seconds"] * 4 / 8 == pytest.approx(
        measured["analytic_flops"]
    )  # four of the eight devices
    assert list(measured["parts"]) == ["patch encoder", "global transformer", "patch decoder", "loss"]
    assert all(0 < p["forward_sec"] for p in measured["parts"].values())
    assert "## Training step: test" in results.read_text() and "jax " in results.read_text()
    with pytest.raises(DataError, match="--steps 0: must be at least 1"):
        args.run(argparse.Namespace(**{**vars(args), "steps": 0}))
    with pytest.raises(DataError, match="--rows 0: must be at least 1"):
        args.run(argparse.Namespace(**{**vars(args), "rows": 0}))
    monkeypatch.setattr(memory, "limit_bytes", lambda device: measured["peak_bytes"] - 1)
    with pytest.raises(
        DataError, match=r"test: needs 0.0 GiB on a device \(rows there: 1\), cpu has .*; no row does: use a"
    ):
        args.run(args)
