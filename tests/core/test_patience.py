"""Locks of other hosts and errors that may pass: waited for, then an end that launchers restart."""

import errno
import json
import multiprocessing
import os
import socket
import threading

import pytest

from lst_jax.core import files, json_files
from lst_jax.core.errors import (
    RESTART_EXIT_CODE,
    BusyElsewhereError,
    BusyError,
    PassingStorageError,
    StorageError,
    storage_error,
)


def owned_by(folder, host):
    (folder / "lock").write_text(json.dumps({"host": host, "pid": 7, "since": "2026-01-01T00:00:00+00:00"}))


def test_the_lock_says_who_has_it(tmp_path):
    with files.exclusive_lock(tmp_path, "lst train"):
        owner = json.loads((tmp_path / "lock").read_text())
        assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
        with (
            pytest.raises(BusyError, match=f"another lst train is at work here .process {os.getpid()}, since 20") as e,
            files.exclusive_lock(tmp_path, "lst train"),
        ):
            raise AssertionError("not reached")
    assert e.value.exit_code == 1


def test_a_lock_that_another_host_keeps_ends_in_a_restart(tmp_path):
    with files.exclusive_lock(tmp_path, "lst train"):
        owned_by(tmp_path, "elsewhere")
        with (
            pytest.raises(BusyElsewhereError, match="on host elsewhere, process 7, since 2026") as e,
            files.exclusive_lock(tmp_path, "lst train", wait_sec=0.6),
        ):
            raise AssertionError("not reached")
    assert e.value.exit_code == RESTART_EXIT_CODE


def test_a_lock_that_another_host_loses_is_taken(tmp_path):
    held = files.exclusive_lock(tmp_path, "lst train")
    held.__enter__()
    owned_by(tmp_path, "elsewhere")
    threading.Timer(0.3, held.__exit__, (None, None, None)).start()
    with files.exclusive_lock(tmp_path, "lst train", wait_sec=20.0):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_a_lock_whose_file_says_nothing_is_taken_for_one_of_this_host(tmp_path):
    with files.exclusive_lock(tmp_path, "lst train"):
        (tmp_path / "lock").write_text("")
        with pytest.raises(BusyError, match="at work here; wait") as e, files.exclusive_lock(tmp_path, "lst train"):
            raise AssertionError("not reached")
    assert not isinstance(e.value, BusyElsewhereError)


def _hold(folder, taken):
    with files.exclusive_lock(folder, "lst train"):
        taken.set()
        threading.Event().wait()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    context = multiprocessing.get_context("spawn")
    taken = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, taken))
    process.start()
    assert taken.wait(60)
    process.kill()
    process.join()
    with files.exclusive_lock(tmp_path, "lst train"):
        pass


class Failing:
    """A function that fails so many times with an error before it does its work."""

    def __init__(self, function, code, times):
        self.function, self.code, self.left = function, code, times

    def __call__(self, *args):
        if self.left:
            self.left -= 1
            raise OSError(self.code, os.strerror(self.code))
        return self.function(*args)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ENOLCK])
def test_an_error_that_passes_is_waited_out(tmp_path, monkeypatch, code):
    monkeypatch.setattr(files.os, "replace", Failing(os.replace, code, 1))
    files.write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole" and len(list(tmp_path.iterdir())) == 1


def test_an_error_that_stays_ends_in_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "replace", Failing(os.replace, errno.ESTALE, 100))
    with pytest.raises(PassingStorageError, match="a.txt: cannot write .Stale file handle.; this may pass") as e:
        files.write_text(tmp_path / "a.txt", "whole", wait_sec=0.6)
    assert e.value.exit_code == RESTART_EXIT_CODE and not list(tmp_path.iterdir())


def test_a_lock_service_that_does_not_answer_is_waited_for_then_ends_in_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(files.fcntl, "flock", Failing(files.fcntl.flock, errno.ENOLCK, 1))
    with files.exclusive_lock(tmp_path, "lst train"):
        pass
    monkeypatch.setattr(files.fcntl, "flock", Failing(files.fcntl.flock, errno.ENOLCK, 100))
    with (
        pytest.raises(PassingStorageError, match="cannot write .No locks available") as e,
        files.exclusive_lock(tmp_path, "lst train", wait_sec=0.6),
    ):
        raise AssertionError("not reached")
    assert e.value.exit_code == RESTART_EXIT_CODE


def test_a_file_system_without_locks_lets_everyone_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(files.fcntl, "flock", Failing(files.fcntl.flock, errno.EOPNOTSUPP, 1))
    with files.exclusive_lock(tmp_path, "lst train"):
        pass


class HalfWritten:
    """A file of lines, of which one write leaves a part and fails."""

    def __init__(self, file, code):
        self.file, self.code, self.name = file, code, file.name

    def write(self, line):
        if self.code:
            self.file.write(line[:4])
            code, self.code = self.code, None
            raise OSError(code, os.strerror(code))
        return self.file.write(line)

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_line_that_was_half_written_is_written_once(tmp_path):
    with json_files.open_lines(tmp_path / "a.jsonl") as file:
        json_files.add_line(file, {"a": 1})
        json_files.add_line(HalfWritten(file, errno.EIO), {"a": 2})
    assert json_files.read_lines(tmp_path / "a.jsonl") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS])
def test_what_a_person_must_mend_is_not_waited_for(code):
    calls = []

    def work():
        calls.append(code)
        raise OSError(code, os.strerror(code))

    with pytest.raises(OSError):
        files.with_patience(work, 60.0)
    assert calls == [code] and storage_error("x", OSError(code, "no")).exit_code == StorageError.exit_code


def test_too_many_open_files_name_the_limit():
    assert "may have" in str(error := storage_error("x", OSError(errno.EMFILE, "no"))) and error.exit_code == 5
    assert "`ulimit -n`" in str(error)
