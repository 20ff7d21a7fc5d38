import os
import signal
import subprocess
import sys
import threading

import pytest

from logocap_jax.processes import stop_on_signals

HANDLED = (signal.SIGTERM, signal.SIGINT)


def handlers():
    return [signal.getsignal(number) for number in HANDLED]


@pytest.mark.row("R6")
@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_is_a_request_to_stop(number):
    with stop_on_signals() as stop:
        assert not stop(1)
        assert stop.signal is None
        os.kill(os.getpid(), number)
        assert stop(2)
        assert stop.signal == number


def test_the_handlers_from_before_come_back():
    before = handlers()
    with stop_on_signals():
        assert not set(handlers()) & set(before)
        os.kill(os.getpid(), signal.SIGINT)
    assert handlers() == before


def test_the_handlers_from_before_come_back_after_an_error():
    before = handlers()
    with pytest.raises(KeyError), stop_on_signals():
        raise KeyError
    assert handlers() == before


def test_other_threads_set_no_handlers():
    before = handlers()
    seen = []

    def body():
        with stop_on_signals() as stop:
            seen.extend([handlers(), stop(1)])

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [before, False]


@pytest.mark.row("R6")
@pytest.mark.parametrize(
    ("first", "second", "code"),
    [("SIGINT", "SIGINT", -2), ("SIGTERM", "SIGTERM", 0), ("SIGTERM", "SIGINT", 0)],
)
def test_only_the_second_control_c_ends_at_once(first, second, code):
    script = f"""
import os, signal
from logocap_jax.processes import stop_on_signals
with stop_on_signals() as stop:
    os.kill(os.getpid(), signal.{first})
    os.kill(os.getpid(), signal.{second})
    assert stop(1)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == code
