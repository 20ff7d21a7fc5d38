"""Set up JAX before any test imports it, and find the shared fixtures."""

import ctypes
import gc
import os
import pathlib
import sys
from collections.abc import Iterator

import pytest
from absl import flags

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
# Empty: processes that tests start keep no programs in the home folder.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", "")
# Most of the time of tests goes into compiling; `make test-all` optimizes.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Grain's workers read absl flags, which only `absl.app.run` parses (google/grain#1355).
flags.FLAGS.mark_as_parsed()

import jax  # noqa: E402
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


def _existing(path: pathlib.Path) -> pathlib.Path:
    """`path`; where it is absent the test is skipped, but fails in CI."""
    if path.exists():
        return path
    reason = f"fixture folder {path.name!r} is not in 'shared' beside the repository"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI requires it")
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def programs_dir(tmp_path_factory) -> pathlib.Path:
    """Where this process keeps what takes long to compile, once for all its tests."""
    folder = tmp_path_factory.mktemp("compiled")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    compilation_cache.reset_cache()
    return folder


@pytest.fixture(scope="module", autouse=True)
def bounded_memory() -> Iterator[None]:
    """Forget a module's programs in memory; those of all tests need over 6 GiB."""
    yield
    jax.clear_caches()
    gc.collect()
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
