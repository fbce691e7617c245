"""A loop that stands still ends with code 42 and says where it stood; one that is only slow, or was stopped, goes on."""

import json
import re
import threading
import time

import pytest

from lst_jax.config import TrainConfig
from lst_jax.core.errors import RESTART_EXIT_CODE
from lst_jax.runs import heartbeats
from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.ledger import Ledger
from lst_jax.runs.lines import NoLines
from lst_jax.train import watchdog

TINY = 0.02  # minutes: 1.2 seconds


@pytest.fixture
def ledger():
    with Ledger(NoLines(), 4, time.monotonic()) as book:
        book.step_seconds.append(0.01)
        yield book


@pytest.fixture
def left(monkeypatch):
    """(event, the code and the line that the watchdog left with)."""
    event, said = threading.Event(), []

    def leave(code, line):
        said.extend([code, line])
        event.set()

    return event, said, leave


def settings(**values):
    return TrainConfig(steps=10, **values)


def watched(tmp_path, ledger, leave, recent=(), **values):
    return watchdog.Watchdog(RunDirectory(tmp_path), settings(**values), ledger, recent, (0, 1), leave)


def stuck_in_a_collective(released):
    released.wait()


def test_a_loop_that_stands_still_leaves_its_stacks_records_and_heartbeats(tmp_path, ledger, left):
    event, said, leave = left
    beats = heartbeats.Heartbeats(tmp_path / "hosts", 3, ledger)
    with beats:
        while not (tmp_path / "hosts" / "0003.json").exists():
            time.sleep(0.01)
    released = threading.Event()
    threading.Thread(target=stuck_in_a_collective, args=(released,)).start()
    with ledger.span("step"), watched(tmp_path, ledger, leave, [{"step": 4, "loss": 2.5}], hang_minutes=TINY):
        assert event.wait(30)
    released.set()
    assert said[0] == RESTART_EXIT_CODE
    (path,) = (tmp_path / "hangs").iterdir()
    text = path.read_text()
    assert str(path) in said[1] and "\n" not in said[1]
    assert "stuck_in_a_collective" in text and 'in "step" after step 4' in text
    assert json.dumps({"step": 4, "loss": 2.5}) in text and "process 3 on" in text
    assert re.fullmatch(r"\d{8}T\d{6}-step00000004-process0000.txt", path.name)


def test_a_loop_that_goes_on_while_its_file_is_written_is_not_ended(tmp_path, ledger, left, monkeypatch, capfd):
    event, _, leave = left
    monkeypatch.setattr(watchdog.objects, "write_text", lambda place, text: ledger.reached(5))
    with ledger.span("step"), watched(tmp_path, ledger, leave, hang_minutes=TINY):
        assert not event.wait(2)
    assert "and goes on now" in capfd.readouterr().err


def test_a_loop_that_goes_on_is_left_alone(tmp_path, ledger, left):
    event, _, leave = left
    with ledger.span("step"), watched(tmp_path, ledger, leave, hang_minutes=TINY):
        for step in range(5, 30):
            ledger.reached(step)
            time.sleep(0.1)  # 2.5 seconds in all, twice the limit
        assert not event.is_set()


def test_the_limit_follows_the_median_step_and_is_longer_for_what_is_no_step(tmp_path, ledger, left):
    watching = watched(tmp_path, ledger, left[2], hang_minutes=5.0, hang_factor=20.0)
    assert watching.limit_sec() == watchdog.LONGER * 300  # it starts
    with ledger.span("step"):
        assert watching.limit_sec() == 300
        ledger.step_seconds.clear()
        assert watching.limit_sec() == watchdog.LONGER * 300  # before the second step
        ledger.step_seconds.extend([1.0, 60.0, 60.0])
        assert watching.limit_sec() == 1200
        with ledger.span("data"):
            assert watching.limit_sec() == 1200
        with ledger.span("evaluation"):
            assert watching.limit_sec() == watchdog.LONGER * 1200


def test_a_place_that_cannot_be_written_does_not_keep_it(tmp_path, ledger, left):
    event, said, leave = left
    (tmp_path / "hangs").write_text("a file where a folder belongs")
    with ledger.span("step"), watched(tmp_path, ledger, leave, hang_minutes=TINY):
        assert event.wait(60)
    assert said[0] == RESTART_EXIT_CODE and "cannot be written" in said[1]


def test_none_turns_it_off(tmp_path, ledger, left):
    before = threading.active_count()
    with watched(tmp_path, ledger, left[2], hang_minutes=None):
        assert threading.active_count() == before
