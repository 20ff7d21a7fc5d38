"""Set up JAX before any test imports it, and find the shared fixtures."""

import ctypes
import gc
import os
import pathlib
import sys
from collections.abc import Iterator

import pytest
from absl import flags

from tests import programs

programs.set_up(devices=8)
# Grain's workers read absl flags, which only `absl.app.run` parses (google/grain#1355).
flags.FLAGS.mark_as_parsed()

import jax  # noqa: E402

LONG = ("docs", "experiment", "parity", "predictor", "methods", "measure", "cli")
SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


def _existing(path: pathlib.Path) -> pathlib.Path:
    """`path`; where it is absent the test is skipped, but fails in CI."""
    if path.exists():
        return path
    reason = f"fixture folder {path.name!r} is not in 'shared' beside the repository"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI requires it")
    pytest.skip(reason)


# A trace of a net makes many small objects and no garbage.
gc.set_threshold(100_000, 20, 20)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Bound the programs that are kept, once for all workers."""
    if not hasattr(session.config, "workerinput"):
        programs.prune()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long: workers then end at about the same time."""
    here = pathlib.Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in LONG)


def pytest_collection_finish() -> None:
    """Keep the modules that are imported now out of each later search for garbage."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def bounded_memory() -> Iterator[None]:
    """Forget a module's programs in memory; those of all tests need over 6 GiB."""
    yield
    jax.clear_caches()
    gc.collect()
    gc.freeze()  # What outlives a module is not looked through again.
    if sys.platform == "linux":
        # What is freed in small pieces glibc keeps otherwise.
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session")
def shared_dir() -> pathlib.Path:
    """The folder of fixtures beside the repository."""
    return _existing(SHARED)


@pytest.fixture(scope="session")
def parity_dir() -> pathlib.Path:
    """Arrays computed with the PyTorch reference."""
    return _existing(SHARED / "parity")


@pytest.fixture(scope="session")
def center_offset_weights(parity_dir, tmp_path_factory) -> pathlib.Path:
    """The parity weights, as far as the baseline has them."""
    from logocap_jax.weights.files import load_weights, save_variables

    variables = load_weights(parity_dir / "tiny" / "weights.npz")
    for tree in variables.values():
        del tree["maps"], tree["dense"]["embedding_head"]
    path = tmp_path_factory.mktemp("weights") / "center_offset"
    save_variables(path, variables)
    return path


@pytest.fixture(scope="session")
def coco_mini_dir() -> pathlib.Path:
    """76 images of COCO with their annotations."""
    return _existing(SHARED / "data" / "coco-mini")
