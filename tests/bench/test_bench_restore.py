"""`lst bench restore`: two real processes read a checkpoint, and with one replica each byte is read once."""

import json

import pytest
import training_run

from lst_jax.bench import restore
from lst_jax.cli.main import parse
from lst_jax.core.errors import DataError


def test_one_replica_reads_what_two_would(tmp_path):
    measured = json.loads(json.dumps(restore.measure(training_run.make_config(tmp_path), 1)))
    each, one = (measured["modes"][mode] for mode in restore.MODES)
    size = measured["state_bytes"]
    assert len(each["seconds"]) == len(one["seconds"]) == 1 and min(each["seconds"] + one["seconds"]) > 0
    assert min(each["bytes_read"]) > 0.5 * size  # compressed
    assert one["bytes_read"][0] > 0.5 * size and one["bytes_read"][1] < 0.25 * each["bytes_read"][1]
    text = restore.markdown(measured)
    assert f"A state of {size / 1e6:.0f} MB" in text and "| one slice reads for both |" in text


def test_wrong_arguments_are_one_line():
    with pytest.raises(DataError, match="--repeats 0: must be at least 1"):
        args = parse(["bench", "restore", "--repeats", "0"])
        args.run(args)
