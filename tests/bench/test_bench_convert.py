"""`lst bench convert`: the memory that it reports is memory, and the model is that of the shapes."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import synthetic_data

from lst_jax.bench import convert
from lst_jax.cli import main
from lst_jax.convert.source import expected_shapes
from lst_jax.core.errors import DataError

RECIPE = str(pathlib.Path(__file__).parents[2] / "configs" / "demo.py")


HOLDS_50_MB = """
import sys
import numpy as np
from lst_jax.bench import convert
before = convert.anonymous_bytes()
with convert.watched() as found:
    held = np.ones(50_000_000, np.uint8)
    for _ in range(20):
        held[::4096] += 1
        convert.time.sleep(0.01)
    mapped = np.memmap(sys.argv[1], np.float32, "r").sum()
print(found["peak_bytes"] - before, found["seconds"], mapped)
"""


def test_peaks_are_those_of_anonymous_memory(tmp_path):
    np.zeros(25_000_000, np.float32).tofile(tmp_path / "file")
    # A process of its own, as what other tests leave behind may be freed at any time.
    output = subprocess.run(
        [sys.executable, "-c", HOLDS_50_MB, tmp_path / "file"], check=True, capture_output=True, text=True
    ).stdout
    peak, seconds, mapped = map(float, output.split())
    assert 45e6 < peak < 75e6 and mapped == 0
    assert seconds > 0.19


def test_arrays_are_drawn_the_same_each_time_and_differ():
    config = synthetic_data.make_config()
    source = convert.made_up_source(config)
    assert {path: one.shape for path, one in source.arrays.items()} == expected_shapes(config.model, config.joint_vocab)
    first, other = (source.arrays[f"patch_encoder/layers_0/attention/{name}/kernel"].read() for name in ("wq", "wk"))
    np.testing.assert_array_equal(first, source.arrays["patch_encoder/layers_0/attention/wq/kernel"].read())
    assert (first != other).mean() > 0.99 and first.std() == pytest.approx(first.shape[0] ** -0.5, rel=0.05)


def test_the_command_writes_its_section_and_leaves_nothing(tmp_path, capsys):
    assert (
        main.main(
            [
                "bench",
                "convert",
                "--config",
                RECIPE,
                "--formats",
                "ancestor",
                "orbax",
                "--folder",
                str(tmp_path),
                "--markdown",
                str(tmp_path / "results.md"),
                "--json",
            ]
        )
        == 0
    )
    measured = json.loads(capsys.readouterr().out)
    assert list(measured["formats"]) == ["ancestor", "orbax"] and measured["parameters"] > 1e6
    for one in measured["formats"].values():
        assert one["max_logit_error"] == 0 and one["write"]["seconds"] > 0 and one["logits"]["peak_bytes"] > 1e6
        assert one["bytes"] > 0.8 * measured["bytes"]  # Orbax compresses
    assert [path.name for path in tmp_path.iterdir()] == ["results.md"]
    assert f"## Conversion: {RECIPE}" in (tmp_path / "results.md").read_text()


def test_a_disk_without_room_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(convert.shutil, "disk_usage", lambda path: convert.shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DataError, match="has 0 GiB left, the model takes"):
        convert.measure(synthetic_data.make_config(), ["orbax"], tmp_path)
