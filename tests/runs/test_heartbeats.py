"""Each process of a job says what it does; what an earlier, larger job left is removed."""

import time

import pytest

from lst_jax.runs import heartbeats
from lst_jax.runs.ledger import Ledger
from lst_jax.runs.lines import NoLines


@pytest.mark.parametrize("count, left", [(2, [0, 1]), (0, [])])
def test_processes_are_told_in_their_order_and_former_ones_are_forgotten(tmp_path, count, left):
    with Ledger(NoLines(), 7, time.monotonic()) as ledger:
        ledger.reached(8)
        for process in (2, 1, 0):
            with heartbeats.Heartbeats(tmp_path, process, ledger):
                while not (tmp_path / f"000{process}.json").exists():
                    time.sleep(0.01)
    found = heartbeats.read(tmp_path)
    assert [(beat["process"], beat["step"], beat["doing"]) for beat in found] == [(n, 8, "start") for n in (0, 1, 2)]
    assert heartbeats.in_words(found)[1].startswith("process 1 on ")
    heartbeats.forget(tmp_path, count)
    assert [beat["process"] for beat in heartbeats.read(tmp_path)] == left


def test_a_folder_that_cannot_be_written_is_passed_over(tmp_path):
    (tmp_path / "file").write_text("")
    with Ledger(NoLines(), 0, time.monotonic()) as ledger, heartbeats.Heartbeats(tmp_path / "file", 0, ledger):
        time.sleep(0.2)
    heartbeats.forget(tmp_path / "none", 0)
    assert heartbeats.read(tmp_path / "none") == []
