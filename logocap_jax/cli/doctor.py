"""Check that this machine is ready: versions, devices, memory, a short self-test.

Prints a line per check: ok and the finding, or advice. The exit code is 1 if a line is
not ok.
"""

import argparse
import os
import pathlib
import platform
import shutil
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import NamedTuple

# One photograph at 512 px needs 1.8 GiB with W32 on a CPU.
LEAST_MEMORY = 2 * 2**30
_SHOWN = ("jax", "jaxlib", "flax", "numpy", "opencv-python-headless")
_GIB = 2**30


class Line(NamedTuple):
    """The result of a check: if not `ok`, the text has advice."""

    ok: bool
    name: str
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments."""


def run(args: argparse.Namespace) -> int:
    """Check everything; return 1 if a line is not ok."""
    bad = 0
    for ok, name, text in _check_all():
        print(f"{'ok' if ok else 'NOT OK':7} {name:9} {text}", flush=True)
        bad += not ok
    print(f"{bad} of the lines above are not ok" if bad else "all is well")
    return 1 if bad else 0


def _check_all() -> Iterator[Line]:
    system = f"{platform.system()} {platform.machine()}"
    yield Line(True, "python", f"{platform.python_version()} on {system}")
    yield check_packages()
    devices = check_devices()
    yield devices
    yield from check_host_memory()
    yield check_cache()
    if devices.ok:
        yield from check_device_memory()
        yield from check_computing()


def check_packages() -> Line:
    """Compare the installed packages with the requirements of this project."""
    try:
        requirements = metadata.requires("logocap-jax") or []
    except metadata.PackageNotFoundError:
        return Line(False, "packages", "logocap-jax is not installed: pip install .")
    if faults := package_faults(requirements):
        advice = f"pip install {' '.join(repr(wanted) for wanted, _ in faults)}"
        installed = ", ".join(version for _, version in faults)
        return Line(False, "packages", f"{installed}: {advice}")
    shown = ", ".join(f"{name} {metadata.version(name)}" for name in _SHOWN)
    return Line(True, "packages", shown)


def package_faults(requirements: Iterable[str]) -> list[tuple[str, str]]:
    """Unmet requirements, but those of extras, and the installed versions."""
    from packaging.requirements import Requirement

    faults = []
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = f"{requirement.name}{requirement.specifier}"
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            faults.append((wanted, f"{requirement.name} is missing"))
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            faults.append((wanted, f"{requirement.name} is {version}"))
    return faults


def check_devices() -> Line:
    """Start JAX, and see that it finds the GPU if there is one."""
    import jax

    try:
        devices = jax.devices()
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        asked = os.environ.get("JAX_PLATFORMS", "")
        advice = f"JAX_PLATFORMS={asked} may be wrong" if asked else "see jax.dev"
        return Line(False, "devices", f"JAX does not start ({reason}): {advice}")
    kinds = sorted({device.device_kind for device in devices})
    text = f"{len(devices)} {jax.default_backend()} ({', '.join(kinds)})"
    asked = os.environ.get("JAX_PLATFORMS", "")
    if jax.default_backend() == "cpu" and not asked and shutil.which("nvidia-smi"):
        return Line(
            False,
            "devices",
            f"{text}, but nvidia-smi is here: pip install 'logocap-jax[cuda]'",
        )
    return Line(True, "devices", text)


def check_host_memory() -> Iterator[Line]:
    """Compare the free memory of the host, where it is known, with an image's need."""
    from logocap_jax.device_memory import host_memory

    if (free := host_memory()) is not None:
        yield memory_line("host", free, "end other programs")


def check_device_memory() -> Iterator[Line]:
    """Compare the free memory of each device that has its own with an image's need."""
    import jax

    for device in jax.local_devices():
        if stats := device.memory_stats():
            free = stats["bytes_limit"] - stats["bytes_in_use"]
            advice = "another process may hold it, see nvidia-smi"
            yield memory_line(str(device), free, advice)


def memory_line(place: str, free: int, advice: str) -> Line:
    """The line on free memory, in bytes."""
    text = f"{place}: {free / _GIB:.1f} GiB free"
    if free < LEAST_MEMORY:
        wanted = f"{LEAST_MEMORY / _GIB:.0f} GiB or more"
        return Line(False, "memory", f"{text}, expected {wanted}: {advice}")
    return Line(True, "memory", text)


def check_cache() -> Line:
    """See that compiled programs can be kept between runs."""
    import jax

    from logocap_jax.predictor.compiled import default_folder

    chosen = jax.config.values["jax_compilation_cache_dir"]
    if chosen == "":
        return Line(True, "cache", "none: JAX_COMPILATION_CACHE_DIR is empty")
    folder = pathlib.Path(chosen or default_folder()).absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        advice = "set JAX_COMPILATION_CACHE_DIR to another folder"
        return Line(False, "cache", f"{folder} cannot be written: {advice}")
    return Line(True, "cache", str(folder))


def check_computing() -> Iterator[Line]:
    """Compile, differentiate and compute with JAX."""
    from logocap_jax.predictor import self_test

    try:
        for name, text in self_test.run():
            yield Line(True, name, text)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        advice = "try JAX_PLATFORMS=cpu; if that works, install the device's driver"
        yield Line(False, "self-test", f"{reason}: {advice}")
