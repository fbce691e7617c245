"""Records that are read ahead are those that are read one by one, in any pool and after any jump."""

import threading
import time

import numpy as np
import pytest
from synthetic_data import make_config, texts, tokenizer, utterances

from lst_jax.core.errors import DataError
from lst_jax.data.read_ahead import DocumentReader, ReadPool, in_order
from lst_jax.data.row_streams import RowStreams
from lst_jax.data.rows import initial_state

RECORDS = [utterances(23), texts(17)]


class Slow:
    """A sequence whose items take a while, of different lengths, and that notes what it was asked for."""

    def __init__(self, items, sec=0.0, bad=()):
        self.items, self.sec, self.bad = items, sec, bad
        self.asked, self.at_once, self.most_at_once = [], 0, 0
        self._lock = threading.Lock()

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        with self._lock:
            self.asked.append(index)
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        time.sleep(self.sec * (1 + index % 3))
        with self._lock:
            self.at_once -= 1
        if index in self.bad:
            raise DataError(f"record {index}: is bad")
        return self.items[index]


@pytest.fixture
def pool():
    pool = ReadPool(4)
    yield pool
    pool.close()


def rows_of(streams, config, steps=6):
    """Tokens and states of all rows, with a jump back and one forth in the middle."""
    states, made, kept = initial_state(config.data.rows, 2), [], []
    for step in range(steps):
        kept.append(states)
        after = []
        for row, state in enumerate(states):
            batch, _, new = streams.next_row(state, row, step)
            made.append((batch, new))
            after.append(new)
        states = np.stack(after)
    for step in (1, 4, 0):
        made += [streams.next_row(kept[step][row], row, step)[::2] for row in (2, 0)]
    return made


@pytest.mark.parametrize("threads, ahead", [(1, 1), (3, 2), (64, 16)])
def test_rows_and_states_are_those_of_reading_one_by_one(threads, ahead):
    config = make_config()
    plain = rows_of(RowStreams(config, RECORDS, tokenizer()), config)
    slow = [Slow(records, 0.001) for records in RECORDS]
    streams = RowStreams(config, slow, tokenizer(), threads, ahead, patience_sec=0)
    for (batch, state), (expected, expected_state) in zip(rows_of(streams, config), plain, strict=True):
        assert all(map(np.array_equal, batch, expected))
        assert np.array_equal(state, expected_state)
    assert threads == 1 or max(source.most_at_once for source in slow) > 1
    streams.close()


def test_the_next_documents_of_each_row_are_read_and_no_others(pool):
    source = Slow(range(100))
    reader = DocumentReader(source, lambda number: number % 100, rows=3, pool=pool, ahead=4, patience_sec=0)
    assert reader.read(4) == (4, 4)
    assert reader.read(104) == (4, 4)  # a jump within the row
    assert reader.read(107) == (7, 7)
    assert [read.number for read in reader._windows[107 % 3]] == [107, 110, 113, 116]
    assert reader.read(5) == (5, 5)  # a jump back, in the same row
    assert [read.number for read in reader._windows[2]] == [5, 8, 11, 14]
    pool.close()
    assert set(source.asked) <= {4, 7, 10, 13, 16, 5, 8, 11, 14}  # of both rows, and of 104 and 107


def test_a_fast_source_needs_no_thread_and_a_slow_one_gets_them():
    before = threading.active_count()
    assert list(in_order(Slow(range(300)))) == list(range(300)) and threading.active_count() == before
    slow = Slow(range(300), 0.01)
    assert list(in_order(slow)) == list(range(300))
    assert sorted(slow.asked) == list(range(300)) and slow.most_at_once > 8
    assert threading.active_count() == before


def test_an_error_is_raised_where_its_record_is_asked_for_and_again_when_asked_again(pool):
    reader = DocumentReader(Slow(range(9), bad=[2]), lambda number: number, 1, pool, ahead=5, patience_sec=0)
    assert [reader.read(number)[1] for number in (0, 1)] == [0, 1]
    for _ in range(2):
        with pytest.raises(DataError, match="record 2: is bad"):
            reader.read(2)
    assert reader.read(3) == (3, 3)


def test_a_pool_that_nobody_uses_has_no_threads():
    pool = ReadPool(4)
    before = threading.active_count()
    reader = DocumentReader(Slow(range(90), 0.005), lambda number: number, 1, pool, ahead=50, patience_sec=0)
    assert reader.read(0) == (0, 0) and threading.active_count() == before + 4
    del pool, reader
    assert threading.active_count() == before
