"""Lines of NAME|UNITS come in and go out."""

import numpy as np
import pytest
from hypothesis import given
from import_samples import built, utterance_parts

from lst_jax.cli import main
from lst_jax.core.errors import RejectedItem
from lst_jax.data import shards
from lst_jax.data.importers import gslm


@given(utterance_parts())
def test_units_round_trip(parts):
    utterance = built(parts)
    again = gslm.parse_line(gslm.format_line(utterance, 50.0).rstrip("\n"), 501, None)
    assert again.id == utterance.id and again.words == ()
    np.testing.assert_array_equal(again.units, utterance.units)


def test_a_file_of_a_textless_system_becomes_records(tmp_path, capsys):
    (tmp_path / "units.txt").write_bytes(b"a.wav|71 71 93 82 11\nx|y.flac|1 2\nb|\nc|7 100\nd 5\ne|5 six\nf|\xff\n")
    arguments = ["import", "gslm", tmp_path / "units.txt", "--unit-rate", 50, "--codebook-size", 100]
    assert main.main([str(word) for word in [*arguments, "--out", tmp_path / "no"]]) == 3
    assert "units.txt: line 3: units is empty" in capsys.readouterr().err
    assert main.main([str(word) for word in [*arguments, "--out", tmp_path / "out", "--skip-bad"]]) == 0
    directory = shards.RecordDirectory(tmp_path / "out", "utterance")
    assert [(u.id, u.units.tolist()) for u in directory] == [("a", [71, 71, 93, 82, 11]), ("x|y", [1, 2])]
    assert "5 rejected" in capsys.readouterr().out


def test_a_line_of_something_else_is_named():
    with pytest.raises(RejectedItem, match="not NAME|UNITS"):
        gslm.parse_line("|5", 10, None)
