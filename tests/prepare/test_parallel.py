"""Results come in order, errors come through, and a dead worker is an error rather than a wait."""

import os
import time

import pytest

from lst_jax.core.errors import DataError
from lst_jax.prepare.engines import processes


def slow_square(value: int) -> int:
    time.sleep(0.01 * (value % 3))
    return value * value


def fail_at_thirteen(value: int) -> int:
    if value == 13:
        raise DataError("item 13: is unlucky; leave it out")
    return value


def die(value: int) -> int:
    os._exit(7)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_keep_the_order_of_the_items(workers):
    assert list(processes.ordered_map(slow_square, range(45), workers)) == [i * i for i in range(45)]
    assert list(processes.ordered_map(slow_square, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_the_function_reaches_the_caller(workers):
    with pytest.raises(DataError, match="unlucky"):
        list(processes.ordered_map(fail_at_thirteen, range(100), workers))


def test_a_worker_that_dies_is_one_line():
    with pytest.raises(DataError, match="workers=2: a worker process died.*with fewer"):
        list(processes.ordered_map(die, range(3), 2))


def test_stopping_early_ends_the_workers_and_restores_the_environment():
    before = dict(os.environ)
    results = processes.ordered_map(slow_square, range(10_000), 2)
    assert next(results) == 0
    results.close()
    assert dict(os.environ) == before
