"""What does not fit in a device's memory is said in one line, with the rows that would."""

import types

import pytest

from lst_jax.bench import memory
from lst_jax.core.errors import DataError

GIB = memory.GIB


def device(limit_gib):
    return types.SimpleNamespace(device_kind="a card", memory_stats=lambda: {"bytes_limit": limit_gib * GIB})


def test_rows_grow_with_temporary_memory_alone():
    assert memory.rows_that_fit(50 * GIB, 40 * GIB, 4, 80 * GIB) == 7  # 10 GiB of state, 10 GiB each row
    assert memory.rows_that_fit(50 * GIB, 40 * GIB, 4, 50 * GIB) == 4
    assert memory.rows_that_fit(50 * GIB, 40 * GIB, 4, 9 * GIB) == 0


def test_what_does_not_fit_is_refused_with_the_rows_of_all_devices():
    memory.check_fits("lst-1b", 80 * GIB, 40 * GIB, 4, device(80))
    with pytest.raises(DataError) as raised:
        memory.check_fits("lst-1b", 170 * GIB, 160 * GIB, 16, device(80), parts=2)
    assert (
        str(raised.value) == "lst-1b: needs 170.0 GiB on a device (rows there: 16), a card has 80.0 GiB; use --rows 14"
    )
    with pytest.raises(DataError, match="no row does: use a smaller recipe"):
        memory.check_fits("lst-7b", 170 * GIB, 1 * GIB, 1, device(80))


def test_a_machine_without_an_allocator_s_limit_has_its_available_memory():
    there = types.SimpleNamespace(device_kind="cpu", memory_stats=lambda: None)
    assert 2**28 < memory.limit_bytes(there) < 2**50


@pytest.mark.parametrize("text", ["RESOURCE_EXHAUSTED: 3 GiB", "CUDA out of memory. Tried to allocate 2 GiB"])
def test_the_end_of_memory_is_one_line_and_other_errors_stay(text):
    with pytest.raises(DataError, match="the step: does not fit in the memory of cpu; use --rows 4"):
        with memory.one_line_if_memory_ends("the step", "use --rows 4"):
            raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="another"), memory.one_line_if_memory_ends("the step", "use --rows 4"):
        raise RuntimeError("another")
