"""What `lst bench generate` reports is of the loop that `lst generate` runs."""

import argparse
import dataclasses
import json

import pytest
import synthetic_data

from lst_jax import config as cfg
from lst_jax.bench import generate
from lst_jax.cli import bench
from lst_jax.core.errors import DataError


def small_config(arg):
    """`arg`: static or base."""
    config = synthetic_data.make_config(tokens=128, units=128, strategy="none" if arg == "base" else "static")
    local = None if arg == "base" else cfg.StackConfig(1, 16, 2, 8)
    return dataclasses.replace(
        config,
        name=arg,
        model=dataclasses.replace(
            config.model,
            patch_encoder=local,
            patch_decoder=local,
            ffn_multiple=8,
            global_transformer=cfg.StackConfig(3, 16, 2, None),
        ),
    )


def test_counted_flops_are_those_of_the_products_of_one_position():
    config = small_config("base")
    local, main, patch = generate.step_flops(config, 2.0)
    width, ffn, slots = 16, config.model.ffn_width(16), 52
    products = 3 * (2 * (4 * width**2 + 3 * width * ffn) + 4 * slots * width)
    assert patch == 1 and products < main < 1.5 * products  # norms, angles and softmax weigh much in so small a model
    assert local == pytest.approx(2 * width * config.joint_vocab.size, rel=0.2)


@pytest.mark.slow
def test_command_prints_json_and_writes_its_section(tmp_path, capsys):
    recipe, results = tmp_path / "small.py", tmp_path / "results.md"
    mappings = {arg: cfg.to_mapping(small_config(arg)) for arg in ("static", "base")}
    recipe.write_text(
        f"from ml_collections import ConfigDict\n\n\ndef get_config(arg):\n    return ConfigDict({mappings!r}[arg])\n"
    )
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser.add_subparsers(dest="command"))
    args = parser.parse_args(
        [
            "bench",
            "generate",
            "--config",
            str(recipe),
            "--flops-of",
            str(recipe),
            "--rows",
            "2",
            "--seconds",
            "1.6",
            "--set",
            "data.rows=8",
            "--json",
            "--markdown",
            str(results),
        ]
    )
    assert args.run(args) == 0
    measured = json.loads(capsys.readouterr().out)
    (row,) = measured["rows"]
    assert row["rows"] == 2 and row["base_global_steps"] == 39 and row["lst_global_steps"] == 9  # 40 tokens
    assert all(row[f"{name}_tokens_per_sec"] > 0 for name in ("lst", "base", "uncached"))
    for name, steps in (("lst", 6.25), ("base", 25)):
        cost = measured["flops"][name]
        assert cost["global_steps"] == steps and cost["total"] == cost["local"] + cost["global"] > 0
    assert row["base_peak_bytes"] > 0 and "--set data.rows=8" in results.read_text()
    assert "## Generation: " in results.read_text()
    with pytest.raises(DataError, match="--seconds 0.1: must be at least 0.5"):
        args = parser.parse_args(["bench", "generate", "--seconds", "0.1"])
        args.run(args)
