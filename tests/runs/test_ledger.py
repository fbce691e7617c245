"""Where the wall time went, by a clock that the test moves."""

import json

import pytest

from lst_jax.core import json_files, plot_style
from lst_jax.core.errors import StorageError
from lst_jax.report import figures
from lst_jax.runs import ledger
from lst_jax.runs.ledger import Ledger
from lst_jax.runs.lines import FileLines


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def spend(clock, seconds):
    clock.now += seconds


def one_start(path, clock, first, saved, last):
    """Six seconds to start, four to compile; then half a second of data and one of work a step, and two a save."""
    began = clock.now
    spend(clock, 6)
    with Ledger(FileLines(path), first, began, clock) as book:
        with book.span("compile"):
            spend(clock, 4)
        with book.span("step"):
            for step in range(first + 1, last + 1):
                with book.span("data"):
                    spend(clock, 0.5)
                spend(clock, 1)
                book.reached(step)
                if step == saved:
                    with book.span("checkpoint"):
                        spend(clock, 2)


def seconds_of(start):
    return {account: sec for account, sec in start.seconds.items() if sec}


def test_the_accounts_add_up_to_the_wall_time(tmp_path, clock):
    one_start(tmp_path / "ledger.jsonl", clock, first=0, saved=3, last=5)
    (start,) = ledger.split(json_files.read_lines(tmp_path / "ledger.jsonl"))
    assert seconds_of(start) == {"start": 6, "compile": 4, "data": 2.5, "step": 5, "checkpoint": 2}
    assert (start.from_step, start.to_step, start.down_sec) == (0, 5, 0)
    assert sum(start.seconds.values()) == clock.now - 100


def test_steps_that_were_done_again_are_lost_with_their_data(tmp_path, clock):
    path = tmp_path / "ledger.jsonl"
    one_start(path, clock, first=0, saved=3, last=5)
    one_start(path, clock, first=3, saved=6, last=6)
    one_start(path, clock, first=6, saved=7, last=7)
    starts = ledger.split(json_files.read_lines(path))
    assert seconds_of(starts[0]) == {"start": 6, "compile": 4, "data": 1.5, "step": 3, "checkpoint": 2, "lost": 3}
    assert "lost" not in seconds_of(starts[1]) and "lost" not in seconds_of(starts[2])
    whole = ledger.summarize(json_files.read_lines(path))
    assert whole["seconds"]["step"] == 7 and whole["seconds"]["lost"] == 3
    assert whole["wall_sec"] == clock.now - 100 and whole["goodput"] == 7 / whole["wall_sec"]


def test_a_checkpoint_moved_away_makes_the_work_of_two_starts_lost(tmp_path, clock):
    path = tmp_path / "ledger.jsonl"
    one_start(path, clock, first=0, saved=3, last=3)
    one_start(path, clock, first=3, saved=5, last=5)
    one_start(path, clock, first=0, saved=5, last=5)
    assert [start.seconds["lost"] for start in ledger.split(json_files.read_lines(path))] == [4.5, 3, 0]


def test_the_time_between_starts_is_down_and_not_the_run_s():
    def line(kind, second, step, **more):
        return {"kind": kind, "time": f"2026-11-21T12:00:{second:02d}.000+00:00", "step": step, **more}

    whole = ledger.summarize(
        [
            line("start", 0, 0),
            line("spent", 9, 3, seconds={"start": 6.0, "step": 3.0}),
            line("start", 49, 3),
            line("spent", 50, 3, seconds={"start": 1.0}),
        ]
    )
    assert whole["down_sec"] == 40 and whole["wall_sec"] == 10
    assert [start["down_sec"] for start in whole["starts"]] == [0, 40]


def test_a_kill_loses_ten_seconds_at_most(tmp_path, clock):
    path = tmp_path / "ledger.jsonl"
    book = Ledger(FileLines(path), 0, clock.now, clock)
    with book.span("step"):
        for step in range(1, 30):
            spend(clock, 3)
            book.reached(step)
            accounted = ledger.summarize(json_files.read_lines(path))["wall_sec"]
            assert clock.now - 100 - accounted < 3 + ledger.EVERY_SEC
        book.reached(30, record=True)
        assert ledger.summarize(json_files.read_lines(path))["wall_sec"] == clock.now - 100
    written = len(path.read_text().splitlines())
    assert written < 15
    book.__exit__(None, None, None)


def test_a_torn_last_line_is_passed_over_and_the_next_start_removes_it(tmp_path, clock):
    path = tmp_path / "ledger.jsonl"
    one_start(path, clock, first=0, saved=3, last=5)
    whole = path.read_text()
    path.write_text(whole + '{"kind": "spent", "ti')
    assert ledger.split(json_files.read_lines(path)) == ledger.split([json.loads(line) for line in whole.splitlines()])
    one_start(path, clock, first=5, saved=6, last=6)
    assert [start.from_step for start in ledger.split(json_files.read_lines(path))] == [0, 5]


def test_time_in_an_interrupted_span_is_not_lost(tmp_path, clock):
    path = tmp_path / "ledger.jsonl"
    with pytest.raises(KeyError), Ledger(FileLines(path), 0, clock.now, clock) as book, book.span("step"):
        with book.span("checkpoint"):
            spend(clock, 7)
            raise KeyError
    (start,) = ledger.split(json_files.read_lines(path))
    assert seconds_of(start) == {"checkpoint": 7}


@pytest.mark.parametrize("another", [None, StorageError("checkpoints")])
def test_a_full_disk_does_not_hide_another_error(tmp_path, clock, another):
    book = Ledger(FileLines(tmp_path / "ledger.jsonl"), 0, clock.now, clock)
    book._lines._file.close()
    book._lines._file = open("/dev/full", "ab", buffering=0)
    with pytest.raises(StorageError, match="checkpoints" if another else "/dev/full: cannot write .no space left."):
        with book, book.span("checkpoint"):
            spend(clock, 1)
            if another:
                raise another


def test_a_run_without_a_ledger_has_no_split():
    assert ledger.summarize([])["starts"] == [] and ledger.summarize([])["goodput"] == 0


@pytest.mark.parametrize(
    "seconds, words",
    [(3.21, "3.2 s"), (723.0, "12 min 3 s"), (18_720.0, "5 h 12 min"), (187_200.0, "2 d 4 h"), (0.0, "0.0 s")],
)
def test_times_in_words(seconds, words):
    assert ledger.in_words(seconds) == words


@pytest.mark.parametrize("count", [1, figures.STARTS_SHOWN + 5])
def test_no_label_of_the_picture_lies_over_another(tmp_path, clock, count):
    path = tmp_path / "ledger.jsonl"
    for number in range(count):
        one_start(path, clock, first=5 * number, saved=5 * number + 5, last=5 * number + 5 + number % 40)
    with plot_style.styled():
        figure = figures.wall_time(ledger.summarize(json_files.read_lines(path))["starts"])
        figure.draw_without_rendering()
    (axis,) = figure.axes
    boxes = [text.get_window_extent() for text in (*axis.texts, *axis.get_yticklabels(), axis.xaxis.label)]
    boxes.append(axis.get_legend().get_window_extent())
    assert len(axis.get_yticklabels()) == min(count, figures.STARTS_SHOWN)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
