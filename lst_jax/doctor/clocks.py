"""Whether the clock of this host agrees with that of the bucket's server, and with those of the job's other hosts."""

import email.utils
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence

from lst_jax.core.errors import first_line
from lst_jax.doctor.finding import Finding

SERVER = "https://storage.googleapis.com"
EMULATOR = "STORAGE_EMULATOR_HOST"  # where gcsfs looks for a server of this machine
TIMEOUT_SEC = 20.0
APART_SEC = 5.0  # then records, heartbeats and logs of several hosts can no longer be put in order
REFUSED_SEC = 300.0  # Google refuses signatures of credentials from then on
FIX = "let the host set its clock by a time server (chronyd or systemd-timesyncd)"


def bucket(run: str) -> Iterator[Finding]:
    """This host's clock against the header Date that the bucket's server answers with, which has whole seconds."""
    began = time.time()
    try:
        date = _date(os.environ.get(EMULATOR) or SERVER)
    except (OSError, ValueError) as error:
        yield Finding("warn", "clock", f"not compared with the server of {run} ({first_line(error)})")
        return
    ended = time.time()
    yield Finding(*_judged(date + 0.5 - (began + ended) / 2, 0.5 + (ended - began) / 2, f"of the server of {run}"))


def _date(url: str) -> float:
    """The Date of an answer in seconds since 1970; what else is answered does not matter.

    Raises: OSError where nothing answers, ValueError where there is no such header.
    """
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SEC) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:
        headers = error.headers
    if headers["Date"] is None:
        raise ValueError("its answer has no header Date")
    return email.utils.parsedate_to_datetime(headers["Date"]).timestamp()


def _judged(behind: float, known_to: float, whose: str) -> tuple[str, str, str, str | None]:
    """The fields of a finding about this host's clock, which is `behind` so many seconds, give or take `known_to`."""
    apart = max(0.0, abs(behind) - known_to)
    word = "behind" if behind > 0 else "ahead of"
    if apart <= APART_SEC:
        return "ok", "clock", f"within {apart + 2 * known_to:.1f} s {whose}", None
    said = f"{apart:.0f} s {word} the clock {whose}"
    if apart > REFUSED_SEC:
        return "fail", "clock", f"{said}, which refuses credentials from {REFUSED_SEC:.0f} s on", FIX
    return "warn", "clock", said, FIX


def between(seconds: Sequence[float]) -> Finding:
    """The clocks of all processes, read at one moment, in the order of the processes.

    Example: [100.0, 100.2, 107.1] -> "warn  clocks: process 2 is 6.9 s ahead of the middle one of 3; …"
    """
    middle = sorted(seconds)[(len(seconds) - 1) // 2]
    index = max(range(len(seconds)), key=lambda i: abs(seconds[i] - middle))
    apart = seconds[index] - middle
    if abs(apart) <= APART_SEC:
        return Finding("ok", "clocks", f"those of {len(seconds)} processes are at most {abs(apart):.1f} s apart")
    word = "ahead of" if apart > 0 else "behind"
    said = f"process {index} is {abs(apart):.1f} s {word} the middle one of {len(seconds)}"
    return Finding("warn", "clocks", said, FIX)
