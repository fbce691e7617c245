"""Rows made by several processes: the same steps, and no process that is left behind."""

import dataclasses
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from synthetic_data import config_over, make_config, utterance, utterances, write_both, write_directory

from lst_jax.config import SourceConfig
from lst_jax.core.errors import ConfigError, DataError, PeerError
from lst_jax.data.patching import STRATEGIES, Static, register
from lst_jax.data.pipeline import BatchStream

ROOT = pathlib.Path(__file__).parents[2]
PARENT = """
import pickle, signal, sys
from lst_jax.data.pipeline import BatchStream

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it

def main():
    stream = BatchStream(pickle.load(open(sys.argv[1], "rb")))
    next(stream)
    try:
        print(*[worker.process.pid for worker in stream._maker._workers], flush=True)
        while True:
            next(stream)
    except KeyboardInterrupt:
        stream.close()
        print("closed", flush=True)

main()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_both(tmp_path_factory.mktemp("data"))


def with_workers(data, workers, **changes):
    config = config_over(data, prefetch=2, **changes)
    return replace_workers(config, workers)


def replace_workers(config, workers):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, workers=workers))


def assert_same(one, other):
    assert one.step == other.step and one.stats.keys() == other.stats.keys()
    assert all(map(np.array_equal, one.batch, other.batch)) and np.array_equal(one.state_after, other.state_after)
    assert all(a.dtype == b.dtype and a.flags.writeable for a, b in zip(one.batch, other.batch, strict=True))
    assert all(np.array_equal(one.stats[key], other.stats[key]) for key in one.stats)


def is_alive(pid):
    try:
        return "Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def wait_until_gone(pids, sec=20.0):
    deadline = time.monotonic() + sec
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, pids
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_steps_states_and_restores_are_those_of_one_process(data, workers):
    plain = BatchStream(config_over(data))
    expected, states = [], [plain.get_state()]
    for _ in range(6):
        expected.append(next(plain))
        states.append(plain.get_state())
    stream = BatchStream(with_workers(data, workers))
    assert len(stream._maker._workers) == min(workers, 4)
    pids = [worker.process.pid for worker in stream._maker._workers]
    for number in (0, 4, 1):
        stream.set_state(states[number])
        for step in expected[number:]:
            assert_same(next(stream), step)
            assert np.array_equal(stream.get_state()["rows"], step.state_after)
    stream.close()
    assert not any(map(is_alive, pids))


def test_a_record_that_cannot_be_used_is_the_error_of_one_process_and_is_met_again(data, tmp_path):
    write_directory(tmp_path, [utterances(9), [utterance(100, 4000)]])
    file = tmp_path / "part-1.array_record"
    content = bytearray(file.read_bytes())
    content[20_000] ^= 255
    file.write_bytes(content)
    sources = (SourceConfig("speech", "utterance", str(tmp_path), 1.0),)
    stream = BatchStream(with_workers(data, 2, sources=sources))
    for _ in range(2):
        with pytest.raises(DataError, match=r"part-1.array_record: record 0: cannot be read"):
            for _ in range(100):
                next(stream)
    stream.close()


def test_a_killed_worker_ends_the_run_in_one_line(data):
    stream = BatchStream(with_workers(data, 2))
    next(stream)
    killed, other = (worker.process.pid for worker in stream._maker._workers)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(
        PeerError, match=rf"data.workers=2: worker 0, process {killed}, was ended by signal 9"
    ) as caught:
        for _ in range(100):
            next(stream)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 42
    stream.close()
    wait_until_gone([killed, other])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(data, tmp_path, how):
    (tmp_path / "config").write_bytes(pickle.dumps(with_workers(data, 2)))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "config")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2 and all(map(is_alive, pids))
    if how == signal.SIGKILL:
        parent.kill()
    else:
        os.killpg(parent.pid, how)  # as a terminal does
    try:
        said, errors = parent.communicate(timeout=60)
    finally:
        parent.kill()
    wait_until_gone(pids)
    if how == signal.SIGINT:
        assert (said, errors, parent.returncode) == ("closed\n", "", 0)


def test_a_strategy_that_only_this_process_has_is_refused_or_handed_over(data):
    before = dict(STRATEGIES)
    try:
        local = type("Local", (Static,), {"name": "local", "__qualname__": "nowhere.Local"})
        register(local)
        config = replace_workers(make_config(prefetch=1, strategy="local", sources=config_over(data).data.sources), 2)
        with pytest.raises(ConfigError, match=r"data.workers=2: .*cannot import it; define it in a module"):
            BatchStream(config)
    finally:
        STRATEGIES.clear()
        STRATEGIES.update(before)
