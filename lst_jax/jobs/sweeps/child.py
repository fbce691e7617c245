"""`python -m lst_jax.jobs.sweeps.child CORES PARENT WORDS…`: `lst WORDS…` as a sweep's own process.

It runs on its cores alone ("0,1"; "" for all), and gets SIGTERM when the sweep's process dies, so that no run is left
behind. The child sets both itself: a process that uses JAX must not be forked with code of its own to run.
"""

import ctypes
import os
import runpy
import signal
import sys
from collections.abc import Collection, Sequence

PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when its parent has died


def command(cores: Collection[int], words: Sequence[str]) -> list[str]:
    """What starts `lst WORDS…` on these cores as a process of this one; no cores mean all."""
    numbers = ",".join(map(str, sorted(cores)))
    return [sys.executable, "-m", "lst_jax.jobs.sweeps.child", numbers, str(os.getpid()), *words]


def bind(cores: str, parent: int) -> None:
    """Takes the cores and ties this process to its parent's life, where the system can."""
    if cores:
        os.sched_setaffinity(0, map(int, cores.split(",")))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before that
            sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    bind(sys.argv[1], int(sys.argv[2]))
    sys.argv[1:] = sys.argv[3:]
    runpy.run_module("lst_jax", run_name="__main__")
