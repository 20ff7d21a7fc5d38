"""The processes of a run on several hosts: start, compare, gather, stop."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Shaped


def start(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    timeout_s: int = 60,
    heartbeat_s: int = 30,
) -> bool:
    """Join the processes of a run, if there are several; before JAX looks for devices.

    Returns True if there are. Without arguments JAX finds the others by itself where a
    scheduler has started several processes (SLURM, Open MPI, Kubernetes jobs, TPU
    slices whose hosts are listed in `TPU_WORKER_HOSTNAMES`); elsewhere nothing is done.

    Args:
      coordinator: `HOST:PORT` of process 0.
      num_processes: number of processes.
      process_id: which of them this is.
      environment: where schedulers tell what they have started.
      timeout_s: if the others are not there by then, this process ends, with one line
        and exit code 2. (JAX would abort it, with a page.)
      heartbeat_s: a process not heard of for so long is dead; it ends the others,
        which would wait for it; JAX's own 100 s make a dead process cost minutes.

    Raises:
      ValueError: if only some arguments are given, or they are refused, or the
        coordinator's port is in use, or this is the shell of a SLURM allocation.
    """
    given = (coordinator, num_processes, process_id)
    if None in given and given != (None, None, None):
        raise ValueError(
            f"got --coordinator={coordinator} --num_processes={num_processes} "
            f"--process_id={process_id}, expected all three or none"
        )
    if coordinator is None and not scheduled(environment):
        return False
    if coordinator is None:
        _check_started_by_scheduler(environment)
    if coordinator is not None:
        _check_address(coordinator, serves=process_id == 0)
    address = coordinator or "the address that the scheduler gives"
    too_late = threading.Timer(timeout_s, _give_up, (address, timeout_s))
    too_late.start()
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=2 * timeout_s,
            heartbeat_timeout_seconds=heartbeat_s,
        )
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"got no connection to the other processes at {address}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    finally:
        too_late.cancel()
    return True


def _check_started_by_scheduler(environment: Mapping[str, str]) -> None:
    """Refuse a process of an allocation's shell: the others were never started."""
    tasks = environment.get("SLURM_NTASKS", "1")
    by_srun = {"SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NODELIST"}
    others = {name: environment[name] for name in environment if "SLURM" not in name}
    if tasks != "1" and not by_srun & environment.keys() and not scheduled(others):
        raise ValueError(
            f"got SLURM_NTASKS={tasks}, but srun has not started this process; start "
            f"all {tasks} with srun in front of the command, or one alone with "
            "SLURM_NTASKS=1 in front"
        )


def _check_address(coordinator: str, *, serves: bool) -> None:
    """Check what makes JAX crash: an address without a port, a port in use."""
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"got --coordinator={coordinator}, expected HOST:PORT")
    if serves:
        try:
            with socket.create_server(("", int(port))):
                pass
        except OSError as error:
            raise ValueError(
                f"got --coordinator={coordinator}, whose port cannot be opened here "
                f"({error}); choose a free one"
            ) from error


def _give_up(address: str, timeout_s: int) -> None:
    print(
        f"error: got no connection to all other processes at {address} within "
        f"{timeout_s} s; start all of them, with the same --coordinator, and check "
        "that hosts reach its port",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)  # the main thread waits in JAX and cannot be interrupted


def is_first() -> bool:
    """True for process 0, which writes and reports for all."""
    return jax.process_index() == 0


def scheduled(environment: Mapping[str, str]) -> bool:
    """True if a scheduler says that it has started several processes."""
    counts = (
        environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1")),
        environment.get("OMPI_COMM_WORLD_SIZE", "1"),
    )
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "")
    in_kubernetes = {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"}
    return (
        any(count.isdecimal() and int(count) > 1 for count in counts)
        or "," in hosts
        or in_kubernetes <= environment.keys()
    )


def check_same(what: str, value: Any) -> None:
    """Check that all processes were started with the same value (of JSON).

    Raises:
      ValueError: on all processes, if one has another value.
    """
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    digests = gather_rows(np.frombuffer(digest, np.uint8)[None])
    differing = np.flatnonzero((digests != digests[0]).any(axis=1))
    if differing.size:
        raise ValueError(
            f"got another {what} in processes {differing.tolist()} than in process 0, "
            "expected the same in all; start them with the same command and files"
        )


def gather_rows(array: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "m ..."]:
    """The rows of all processes, process by process; a copy on each.

    Their number may differ between processes, their shape not.
    """
    if jax.process_count() == 1:
        return array
    counts = multihost_utils.process_allgather(np.asarray(array.shape[0], np.int32))
    # As bytes: JAX would cut 64-bit numbers.
    row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    padded = np.zeros((int(counts.max()), row_bytes), np.uint8)
    padded[: len(array)] = (
        np.ascontiguousarray(array).view(np.uint8).reshape(len(array), row_bytes)
    )
    gathered = np.asarray(multihost_utils.process_allgather(padded))
    rows = [part[:count] for part, count in zip(gathered, counts, strict=True)]
    joined = np.ascontiguousarray(np.concatenate(rows))
    return joined.view(array.dtype).reshape(-1, *array.shape[1:])


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
