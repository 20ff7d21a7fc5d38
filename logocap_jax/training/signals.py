"""SIGTERM and Ctrl-C ask a run to stop; they do not break it off."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Whether this run was asked to stop, and by which signal.

    Attributes:
      signal: the latest signal; None while there was none.
    """

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self.signal: signal.Signals | None = None

    def __call__(self, step: int) -> bool:
        """Whether to stop after this step: on all processes the same answer.

        Args:
          step: must be asked for each step in turn, where there are more processes.
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
