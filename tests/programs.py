"""How the programs of tests are compiled, and where they are kept.

All processes of all runs share one folder in `.venv`, by what programs depend on.
"""

import hashlib
import importlib.metadata
import os
import pathlib
import platform
import shutil

LIMIT_BYTES = 2**30

_ROOT = pathlib.Path(__file__).resolve().parents[1] / ".venv" / "test_programs"
_VERSION = importlib.metadata.version("jaxlib")
# Code in one piece compiles in four fifths of the time. JAX 0.10 takes less than half
# without its newer emitter, which later versions cannot switch off.
_QUICK = ["--xla_cpu_parallel_codegen_split_count=1"]
if _VERSION.startswith("0.10."):
    _QUICK.append("--xla_cpu_use_fusion_emitters=false")
_DEVICES = "--xla_force_host_platform_device_count"


def xla_flags(devices: int) -> str:
    """`XLA_FLAGS` of a process with that many devices, compiling as tests do."""
    return f"{quick_flags()} {_DEVICES}={devices}".strip()


def quick_flags() -> str:
    """The part of `xla_flags` that compiles fast."""
    return " ".join(_QUICK) if _is_quick() else ""


def fused() -> dict[str, bool]:
    """Compiler options of a program whose bits are compared with another's.

    Without the newer emitter programs of the same arithmetic differ in the last bit.
    """
    off = "--xla_cpu_use_fusion_emitters=false" in quick_flags()
    return {"xla_cpu_use_fusion_emitters": True} if off else {}


def set_up(devices: int) -> None:
    """Set the environment of this process, before it imports JAX, and its children."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    # Most of the time of tests goes into compiling; `make test-all` optimizes.
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    os.environ["XLA_FLAGS"] = xla_flags(devices)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder())
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"


def one_device() -> dict[str, str]:
    """Settings of a child on one device."""
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla_flags(1)}


def one_thread(devices: int = 1) -> dict[str, str]:
    """Settings of children whose sums agree bit for bit: they depend on threads."""
    return {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": xla_flags(devices),
        "NPROC": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_COMPILATION_CACHE_DIR": str(folder() / "one_thread"),
    }


def folder() -> pathlib.Path:
    """Where programs of this machine, JAX, and level of optimization are kept."""
    cpu = platform.processor()
    if (info := pathlib.Path("/proc/cpuinfo")).exists():
        cpu = next(
            line for line in info.read_text().splitlines() if line.startswith("flags")
        )
    depends_on = (cpu, _VERSION, platform.python_version(), _is_quick())
    return _ROOT / hashlib.sha256(repr(depends_on).encode()).hexdigest()[:16]


def prune() -> None:
    """Drop the oldest programs beyond `LIMIT_BYTES`, and traces of an earlier run."""
    for traces in _ROOT.rglob("traces-*"):
        shutil.rmtree(traces)  # of toy methods too, whose code may have changed
    files = sorted(
        (path for path in _ROOT.rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > LIMIT_BYTES:
            path.unlink()


def _is_quick() -> bool:
    return os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] not in ("0", "false")
