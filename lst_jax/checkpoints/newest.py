"""Reading the newest checkpoint of a run that trains on meanwhile, and removes the steps that it does not keep."""

import sys
from collections.abc import Callable
from typing import TypeVar

from lst_jax.core.errors import CheckpointError, CheckpointGoneError

T = TypeVar("T")
ATTEMPTS = 5


def read_newest(read: Callable[[], T], run_path) -> T:
    """What `read` returns, which chooses the newest step anew each time; again where its step was removed meanwhile.

    Raises: CheckpointError after `ATTEMPTS` times, or what `read` raises otherwise.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            return read()
        except CheckpointGoneError as error:
            if not left:
                raise CheckpointError(
                    f"{run_path}: the newest checkpoint was removed {ATTEMPTS} times while it was being read; keep "
                    "more of them with train.checkpoint_keep, or wait until training has ended"
                ) from error
            print(f"{error}; reading the newest one", file=sys.stderr)
    raise AssertionError("unreachable")
