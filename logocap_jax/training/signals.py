"""SIGTERM and Ctrl-C ask a run to stop; they do not break it off."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """A request to stop this run, and the signal that brought it.

    Attributes:
      signal: the latest signal, if any.
    """

    def __init__(self) -> None:
        """Start without a request."""
        self.signal: signal.Signals | None = None

    def __call__(self, step: int) -> bool:
        """Tell if the run stops after this step: on all processes the same answer.

        With several processes it must be asked for each step in turn.
        """
        # A signal reaches one process first; JAX lets all agree on a step.
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(
            step
        ):
            self.signal = signal.SIGTERM
        return self.signal is not None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Take SIGTERM and the first Ctrl-C for a request; the second Ctrl-C ends at once.

    Handlers are those from before in the end. Only the main thread can have any, and
    with several processes JAX has its own: there none is set.
    """
    request = StopRequest()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or jax.process_count() > 1:
        yield request
        return

    def note(number: int, frame: object) -> None:
        del frame
        request.signal = signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
