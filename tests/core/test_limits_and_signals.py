"""Limits of the process, and requests to stop."""

import resource
import signal

import pytest

from lst_jax.core.limits import many_open_files
from lst_jax.core.signals import StopRequest


def test_more_files_may_be_open_within_the_block():
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    try:
        with many_open_files():
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256 or hard <= 256
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(256, soft), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_the_second_interrupts(number, capsys):
    signal.signal(number, lambda *_: None)  # the tests may run where it is ignored, as with nohup
    before = signal.getsignal(number)
    with StopRequest("saving") as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested and f"{number.name}: saving" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup starts a command
    try:
        with StopRequest("saving") as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)
