"""What several real processes decide together."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from lst_jax.core.errors import ConfigError
from lst_jax.parallel import processes

PROGRAM = pathlib.Path(__file__).parents[1] / "helpers" / "peers.py"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def told():
    """What each of two processes of two devices printed."""
    port, environment = free_port(), os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    running = [
        subprocess.Popen(
            [sys.executable, PROGRAM, str(port), "2", str(i)], stdout=subprocess.PIPE, text=True, env=environment
        )
        for i in range(2)
    ]
    printed = [process.communicate(timeout=120)[0] for process in running]
    return [json.loads(text.splitlines()[-1]) for text in printed]  # Gloo prints, too


def test_processes_that_say_the_same_go_on(told):
    assert [t["same"] for t in told] == [None, None]


def test_one_that_differs_is_named_by_all(told):
    assert (
        told[0]["other"]
        == told[1]["other"]
        == ['process 1: data="y", process 0 has "x"; give all processes the same configuration, code and data', 2]
    )


def test_the_error_of_one_stops_all_with_its_code(told):
    assert told[1]["error"] == ["a.json: broken; mend it", 3]
    assert told[0]["error"] == ["process 1: a.json: broken; mend it", 3]


def test_a_flag_of_one_is_known_to_all_a_step_later(told):
    assert told[0]["flags"] == told[1]["flags"] == [[step == 3, False] for step in range(5)]


def test_numbers_add_up_exactly(told):
    assert told[0]["totals"] == told[1]["totals"] == {"one": 2 * 10**17 + 1, "none": 0}


def test_all_know_the_slowest_host(told):
    count = len(told)
    mean = 0.25 * (count + 1) / 2
    slowest = {"host_seconds": pytest.approx(mean), "host_seconds_slowest": 0.25 * count, "slowest_host": count - 1}
    assert [one["hosts"] for one in told] == [slowest] * count


def test_every_process_makes_its_rows_and_gets_all(told):
    assert [t["rows"] for t in told] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert all(t["state"] for t in told)
    assert [t["leader"] for t in told] == [True, False]


def test_without_a_cluster_more_processes_are_refused_in_one_line():
    program = "from lst_jax.parallel import processes; processes.join(4)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert "ConfigError: --processes=4: JAX finds no cluster here" in found.stderr.splitlines()[-1]
    assert "give --coordinator HOST:PORT and --process-id I" in found.stderr


def test_alone_everything_is_the_trivial_one():
    with pytest.raises(ConfigError, match="^mine$"), processes.barrier({}):
        raise ConfigError("mine")
    processes.join(1)
