import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import psutil
import pytest

from data_pipeline.drawn import write_drawn_dataset
from logocap_jax.experiment.settings import load_config
from logocap_jax.methods import METHODS
from tests import programs
from tests.faults.injector import FullDisk, Sent, limit_files
from tests.runs import restore_last

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = "tests/faults/quick_config.py"


@pytest.fixture(scope="session")
def drawn_dir(tmp_path_factory) -> pathlib.Path:
    """Two batches of drawn people and a bit, and one image to evaluate."""
    out = tmp_path_factory.mktemp("drawn") / "data"
    write_drawn_dataset(out, num_train=18, num_val=1, size=96, seed=0, progress=False)
    return out


class Ended(NamedTuple):
    """How a run has ended."""

    code: int
    out: str
    error: str

    @property
    def errors(self) -> list[str]:
        """Without what Python says of shared memory that it cleans up."""
        lines = self.error.splitlines()
        return [line for line in lines if "resource_tracker" not in line]


class Run:
    """`train.py` in a process group of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._seen = ""

    def wait_for(self, text: str, *, timeout_s: float = 300) -> None:
        """Read until a line has a text; a run that does not write it is killed."""
        assert self._process.stdout is not None
        watch = threading.Timer(timeout_s, self._process.kill)
        watch.start()
        try:
            for line in self._process.stdout:
                self._seen += line
                if text in line:
                    return
        finally:
            watch.cancel()
        raise AssertionError(f"no {text!r} in {self._seen!r} {self.end().error}")

    def meet(self, fault: Sent | FullDisk) -> None:
        """Inject a fault at its time."""
        self.wait_for(fault.after)
        if isinstance(fault, FullDisk):
            limit_files(fault.max_bytes, self._process.pid)
            return
        for _ in range(fault.times):
            match fault.to:
                case "trainer":
                    self.send(fault.number)
                case "group":
                    os.killpg(self._process.pid, fault.number)
                case "worker":
                    self.workers()[-1].send_signal(fault.number)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def workers(self) -> list[psutil.Process]:
        """The processes that load its batches."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        return [child for child in children if "spawn_main" in str(child.cmdline())]

    def end(self, *, timeout_s: float = 300) -> Ended:
        """Wait for its end and that of its workers, which hold its output open."""
        try:
            out, error = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
        return Ended(self._process.returncode, self._seen + out, error)


Start = Callable[..., Run]


@pytest.fixture(scope="session")
def start(drawn_dir) -> Start:
    """Starts a training on one device."""

    def start_(
        workdir: pathlib.Path, *flags: str, environment: Mapping[str, str] = {}
    ) -> Run:
        return Run(
            subprocess.Popen(
                [
                    *(sys.executable, "train.py", f"--config={CONFIG}"),
                    *(f"--config.data.dir={drawn_dir}", f"--workdir={workdir}"),
                    *flags,
                ],
                cwd=ROOT,
                env=os.environ | programs.one_thread() | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )

    return start_


@pytest.fixture(scope="session")
def start_two(start) -> Callable[..., list[Run]]:
    """Starts one training of two processes."""

    def start_two_(workdir: pathlib.Path, *flags: str) -> list[Run]:
        address = f"localhost:{free_port()}"
        return [
            start(
                workdir,
                *(f"--coordinator={address}", "--num_processes=2"),
                *(f"--process_id={index}", *flags),
            )
            for index in range(2)
        ]

    return start_two_


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def outcome() -> Callable[[pathlib.Path], tuple[Any, list[dict[str, float]]]]:
    """The arrays that a run has ended with, and what it wrote but for times."""

    def outcome_(workdir: pathlib.Path) -> tuple[Any, list[dict[str, float]]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(METHODS, "peaks", "tests.toys.methods.peaks")
            state = restore_last(load_config(ROOT / CONFIG), workdir)
        arrays = [leaf.tobytes() for leaf in jax.tree.leaves(jax.device_get(state))]
        lines = (workdir / "metrics.jsonl").read_text().splitlines()
        times = {"images_per_second", "data_wait_share", "seconds_per_step"}
        return arrays, [
            {k: v for k, v in json.loads(line).items() if k not in times}
            for line in lines
        ]

    return outcome_
