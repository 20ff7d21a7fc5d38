import copy
import logging
import pathlib
import runpy
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.monitoring
import numpy as np
import pytest
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipeline.drawn import write_drawn_dataset
from logocap_jax.experiment import run as run_module
from logocap_jax.experiment.settings import change_method
from logocap_jax.methods import METHODS
from logocap_jax.sharding import make_mesh
from tests.runs import train_from_config

TINY_CONFIG = pathlib.Path(__file__).parents[1] / "tiny_config.py"


@pytest.fixture(scope="session")
def drawn_dir(tmp_path_factory) -> pathlib.Path:
    """Drawn people: two batches and a bit to train on, half of one to evaluate."""
    out = tmp_path_factory.mktemp("drawn") / "data"
    write_drawn_dataset(out, num_train=18, num_val=4, size=96, seed=0, progress=False)
    return out


@pytest.fixture(scope="session")
def tiny_config(drawn_dir) -> ConfigDict:
    """The config of all runs of these tests; copy it to change it."""
    config = runpy.run_path(str(TINY_CONFIG))["get_config"]()
    config.data.dir = str(drawn_dir)
    return config


@pytest.fixture
def config(tiny_config) -> ConfigDict:
    """A copy to change."""
    return copy.deepcopy(tiny_config)


@pytest.fixture(scope="module")
def quick_config(tiny_config) -> Iterator[ConfigDict]:
    """The same run of a method that compiles in no time; copy it to change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "peaks", "tests.toys.methods.peaks")
        config = copy.deepcopy(tiny_config)
        change_method(config, "peaks")
        yield config


@pytest.fixture(scope="module")
def quick_run(quick_config, tmp_path_factory) -> pathlib.Path:
    """The folder of a finished run of it."""
    workdir = tmp_path_factory.mktemp("quick") / "run"
    train_from_config(quick_config, workdir)
    return workdir


@pytest.fixture(scope="module")
def one_device() -> Iterator[None]:
    """Runs on one device, whose programs are compiled faster than those of eight."""
    mesh = Mesh(np.asarray(jax.devices()[:1]), ("data",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "make_mesh", lambda: mesh)
        yield


class Run(NamedTuple):
    """A finished run.

    Attributes:
      workdir: its folder.
      log: the lines of its log.
      compilations: how often a training step or an evaluation was compiled before
        each of those lines.
    """

    workdir: pathlib.Path
    log: list[str]
    compilations: list[int]


class _Recorder(logging.Handler):
    """Notes each line and how many programs were compiled before it."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.run.log.append(record.getMessage())
        self.run.compilations.append(self.count)

    def on_event(self, name: str, seconds: float, **details: object) -> None:
        del seconds
        # Orbax compiles copies of its own when it first saves.
        ours = details.get("fun_name") in ("jit(step)", "jit(evaluate)")
        self.count += ours and name == "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="session")
def finished_run(tiny_config, tmp_path_factory) -> Run:
    """Two epochs of two steps on eight devices, each followed by an evaluation."""
    run = Run(tmp_path_factory.mktemp("run") / "run", [], [])
    recorder = _Recorder(run)
    logger = logging.getLogger("logocap_jax")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(recorder)
    jax.monitoring.register_event_duration_secs_listener(recorder.on_event)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run_module, "make_mesh", make_mesh)
            train_from_config(tiny_config, run.workdir)
    finally:
        jax.monitoring.unregister_event_duration_listener(recorder.on_event)
        logger.removeHandler(recorder)
        logger.setLevel(level)
    return run
