"""Who may write at a place that has no locks: claims with numbers, an owner, and a heartbeat.

FOLDER/00000003.owner.json is the third claim. It was created exclusively, so that one process has it. Its owner writes it
anew every `HEARTBEAT_SEC`, and says at the end that it has ended. The next process waits until that has happened, or until
its own clock has seen no writing for `STALE_SEC`. Then it takes the next number. So the claim of a lost machine ends by
itself. The highest number is the claim that holds; no claim is ever removed.
"""

import contextlib
import datetime
import json
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from lst_jax.core import json_files
from lst_jax.core.errors import BusyElsewhereError, BusyError, StorageError
from lst_jax.storage import objects
from lst_jax.storage.place import Place

HEARTBEAT_SEC = 15.0
STALE_SEC = 75.0  # four heartbeats may fail
PAUSE_SEC = 2.5  # between two looks at the claim of another
SUFFIX = ".owner.json"
BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")


class Claim:
    """The claim of this process, whose heartbeat goes on until it is closed."""

    def __init__(self, folder: Place, number: int, owner: dict[str, Any], command: str):
        """Starts the heartbeat of a claim that has been created."""
        self.number, self._folder, self._owner, self._command = number, folder, owner, command
        self._ended, self._beats = threading.Event(), 0
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Call it before anything is written. Raises: BusyElsewhereError where another process has taken over."""
        newest = max(_numbers(self._folder), default=self.number)
        other = _read(self._folder, newest)
        if newest > self.number or not self._is_own(other):
            raise BusyElsewhereError(
                f"{self._folder.parent}: another {self._command}{_by(other)} took over, as this process did not answer for "
                f"{STALE_SEC:.0f} seconds; let that one go on, or stop it and run the same command again"
            )

    def close(self) -> None:
        """Says that the claim has ended, so that nobody waits for it."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(StorageError, OSError):  # the next one waits then
            if self._is_own(_read(self._folder, self.number)):
                self._write(ended=True)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SEC):
            with contextlib.suppress(StorageError, OSError):  # the next beat may get through
                if not self._is_own(_read(self._folder, self.number)):
                    return
                self._write(ended=False)

    def _is_own(self, seen: dict[str, Any]) -> bool:
        """False where another process wrote the same claim, as on a mount that creates files twice."""
        return "id" not in seen or seen["id"] == self._owner["id"]

    def _write(self, ended: bool) -> None:
        self._beats += 1
        objects.write_json(_name(self._folder, self.number), self._owner | _state(self._beats, ended))


@contextlib.contextmanager
def held(folder: Place, command: str, sleep: Callable[[float], None] = time.sleep) -> Iterator[Claim]:
    """Takes the next claim of `folder`, once the one before has ended. Closes it behind the block.

    Args: `command` is what messages call the owner, as "lst train".
    Raises: BusyError where a process of this machine has the claim; StorageError.
    """
    owner = _this_process()
    number = _take(folder, owner, command, sleep)
    claim = Claim(folder, number, owner, command)
    try:
        claim.check()
        yield claim
    finally:
        claim.close()


def is_here(folder: Place) -> bool:
    """Whether a process of this machine has the newest claim, and lives."""
    newest = max(_numbers(folder), default=0)
    seen = _read(folder, newest) if newest else {}
    return seen.get("machine") == _machine() and not _is_over(seen, seen)


def is_alive(folder: Place) -> bool:
    """Whether the newest claim has not ended, and was written lately by the clocks of both machines."""
    newest = max(_numbers(folder), default=0)
    seen = _read(folder, newest) if newest else {}
    if not seen or _is_over(seen, _this_process()):
        return False
    try:
        last = datetime.datetime.fromisoformat(seen["written"])
    except (KeyError, TypeError, ValueError):
        return False
    return (datetime.datetime.now(datetime.UTC) - last).total_seconds() < 2 * STALE_SEC


def _take(folder: Place, owner: dict[str, Any], command: str, sleep: Callable[[float], None]) -> int:
    while True:
        newest = max(_numbers(folder), default=0)
        if newest:
            _wait_for_end(folder, newest, owner, command, sleep)
        content = json.dumps(owner | _state(0, False), indent=1) + "\n"
        if objects.create(_name(folder, newest + 1), content.encode()):
            return newest + 1


def _wait_for_end(
    folder: Place, number: int, owner: dict[str, Any], command: str, sleep: Callable[[float], None]
) -> None:
    """Returns once the claim has ended, or was not written for `STALE_SEC`, or another one is there."""
    seen, waited = _read(folder, number), 0.0
    while not _is_over(seen, owner) and waited < STALE_SEC:
        if seen.get("machine") == owner["machine"]:
            raise BusyError(
                f"{folder.parent}: another {command} is at work here{_by(seen)}; wait for it to end, or stop it"
            )
        sleep(PAUSE_SEC)
        if max(_numbers(folder), default=0) != number:
            return
        now = _read(folder, number)
        waited = waited + PAUSE_SEC if now == seen else 0.0
        if now != seen and not _is_over(now, owner):
            raise BusyElsewhereError(
                f"{folder.parent}: another {command} is at work here{_by(now)}; wait for it to end, or stop it"
            )
        seen = now


def _is_over(seen: dict[str, Any], owner: dict[str, Any]) -> bool:
    """Whether the claim has ended, or its process did, which only its own machine can tell."""
    if seen.get("ended") is True:
        return True
    return seen.get("machine") == owner["machine"] and seen.get("process_began") != _began(seen.get("pid"))


def _state(beats: int, ended: bool) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"beats": beats, "written": now, "ended": ended}


def _this_process() -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "process_began": _began(os.getpid()),
    }


def _machine() -> str:
    """The same for processes that can see each other's numbers: of one boot and one container."""
    try:
        return f"{BOOT.read_text(encoding='ascii').strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid.uuid4().hex  # no process can be seen


def _began(pid: Any) -> str | None:
    """When a process of this machine began, in ticks since the boot; None where there is none, or it is a zombie."""
    try:
        words = pathlib.Path(f"/proc/{int(pid)}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (OSError, ValueError, TypeError):
        return None
    return None if words[0] in "ZX" else words[19]


def _numbers(folder: Place) -> list[int]:
    found = (name.removesuffix(SUFFIX) for name in objects.names(folder) if name.endswith(SUFFIX))
    return [int(name) for name in found if name.isdecimal()]


def _name(folder: Place, number: int) -> Place:
    return folder / f"{number:08d}{SUFFIX}"


def _read(folder: Place, number: int) -> dict[str, Any]:
    """What the claim says; nothing where it is being written."""
    try:
        return json_files.decode(objects.read_bytes(_name(folder, number)))
    except (FileNotFoundError, json_files.NotJson):
        return {}


def _by(owner: dict[str, Any]) -> str:
    if not owner.keys() >= {"host", "pid", "since"}:
        return ""
    return f" (on host {owner['host']}, process {owner['pid']}, since {owner['since']})"
