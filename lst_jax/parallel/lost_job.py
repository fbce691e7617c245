"""The end of a process whose job is lost, as process 0 was killed: one line and exit code 42.

JAX's client watches process 0 from a thread in C++. By default it logs a stack trace there and aborts. A callback in
Python may take its place, but jaxlib 0.10 cannot hand it the reason: C++ ends with `std::bad_cast`. So the handler of
such an end is ours as well. Where JAX or the C++ library are others, the default stays.
"""

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from lst_jax.core.errors import RESTART_EXIT_CODE
from lst_jax.core.leaving import exit_at_once

CLIENT = "get_distributed_runtime_client"
LINE = "lst: lost process 0 of this job, or the network to it; start all processes again, they go on from the newest checkpoint"
_kept: list[Callable] = []  # what C++ may call until the process ends


@contextlib.contextmanager
def ends_in_one_line() -> Iterator[None]:
    """A client that is made within the block ends this process in one line when process 0 is lost."""
    library = _client_library()
    make = getattr(library, CLIENT, None)
    if make is None or not _take_bad_casts():
        yield
        return
    setattr(library, CLIENT, functools.partial(make, missed_heartbeat_callback=_end))
    try:
        yield
    finally:
        setattr(library, CLIENT, make)


def _client_library() -> Any:
    """JAX's own library of clients, which is no part of its interface; None where this version has it elsewhere."""
    try:
        from jax._src import distributed
    except ImportError:
        return None
    return getattr(distributed, "_jax", None)


def _end(*_: Any) -> NoReturn:
    exit_at_once(RESTART_EXIT_CODE, LINE)


def _take_bad_casts() -> bool:
    """Makes C++ call `_end` where it ends with `std::bad_cast`, and what it called before otherwise.

    Returns: whether it can.
    """
    try:
        cpp = ctypes.CDLL("libstdc++.so.6")
        set_handler, thrown = cpp["_ZSt13set_terminatePFvvE"], cpp["__cxa_current_exception_type"]
    except (OSError, AttributeError):
        return False
    handler_type = ctypes.CFUNCTYPE(None)
    thrown.restype, set_handler.restype, set_handler.argtypes = ctypes.c_void_p, ctypes.c_void_p, [ctypes.c_void_p]

    def handle() -> None:
        kind = thrown()  # a std::type_info: behind a pointer to functions, the pointer to its name
        if (
            kind
            and ctypes.string_at(ctypes.c_void_p.from_address(kind + ctypes.sizeof(ctypes.c_void_p)).value)
            == b"St8bad_cast"
        ):
            _end()
        if before:
            handler_type(before)()

    handler = handler_type(handle)
    _kept.append(handler)
    before = set_handler(ctypes.cast(handler, ctypes.c_void_p))
    return True
