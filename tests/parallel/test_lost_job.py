"""A process whose process 0 is killed."""

import os
import subprocess
import sys

from test_processes import free_port

from lst_jax.core.errors import RESTART_EXIT_CODE

WAITS = """
import sys, time
from lst_jax.parallel import processes
processes.join(2, "127.0.0.1:" + sys.argv[1], int(sys.argv[2]))
print("joined", flush=True)
time.sleep(60)
"""
THROWS = """
import ctypes
from lst_jax.parallel import lost_job
with lost_job.ends_in_one_line():
    pass
ctypes.CDLL("libstdc++.so.6")["_ZSt9terminatev"]()
"""


def test_the_others_end_in_one_line_with_the_code_that_restarts():
    port, environment = free_port(), os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    job = [
        subprocess.Popen(
            [sys.executable, "-c", WAITS, str(port), str(i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for i in range(2)
    ]
    for process in job:
        while process.stdout.readline() not in ("joined\n", ""):  # Gloo prints, too
            pass
    job[0].kill()
    _, said = job[1].communicate(timeout=30)
    job[0].communicate()
    assert job[1].returncode == RESTART_EXIT_CODE, said
    assert len(said.splitlines()) == 1 and said.startswith("lst: lost process 0 of this job"), said


def test_another_end_of_c_plus_plus_stays_what_it_is():
    done = subprocess.run([sys.executable, "-c", THROWS], capture_output=True, text=True, timeout=60)
    assert done.returncode == -6 and "terminate called" in done.stderr
