"""A benchmark's JSON: written, read, and compared with an earlier one."""

import datetime
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from logocap_jax.atomic import replacing
from logocap_jax.measure.rows import Row, ratios
from logocap_jax.tables import format_table

_VERSIONS = ("logocap-jax", "jax", "jaxlib", "flax", "numpy", "opencv-python-headless")

# Figures of a row that are compared.
_FIGURES: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "compile": lambda row: row.get("compile_seconds"),
    "median": lambda row: (row.get("timing") or {}).get("median_seconds"),
    "memory": lambda row: row.get("memory_bytes"),
    "FLOP": lambda row: row.get("flops"),
}


def describe(
    command: Sequence[str], config: ConfigDict, device: Any = None
) -> dict[str, Any]:
    """Describe a measurement: machine, devices, versions, date, command, config.

    `device` is the one that was compiled for; None: those that are there.
    """
    devices = jax.devices() if device is None else [device]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu_cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "backend": devices[0].platform,
            "device_kind": devices[0].device_kind,
            "devices": len(devices),
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
            "cache": jax.config.values["jax_compilation_cache_dir"],
        },
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in _VERSIONS},
        "config": json.loads(config.to_json_best_effort()),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def own_command() -> list[str]:
    """The command line of this process."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def format_headline(about: dict[str, Any]) -> str:
    """One line on machine, versions and date."""
    machine, versions = about["machine"], about["versions"]
    shown = ", ".join(f"{name} {versions[name]}" for name in ("jax", "jaxlib"))
    cache = f"; compiled programs come from {machine['cache']}"
    return (
        f"{machine['devices']} x {machine['device_kind']}, {machine['cpu_cores']} CPU "
        f"cores, {shown}, {about['date']}{cache if machine['cache'] else ''}"
    )


def write_record(path: Path, about: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write a benchmark, all of it or nothing; `about` is from `describe`, or more."""
    measured = {"rows": [row.to_json() for row in rows], "ratios": ratios(rows)}
    record = about | measured
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """Read what `write_record` wrote.

    Raises:
      ValueError: no such file, or not a benchmark's.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, expected one that --json wrote")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        for row in record["rows"]:
            row["key"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a benchmark ({error!r}), expected what --json wrote"
        ) from error
    return record


def compare(rows: Sequence[Row], earlier: dict[str, Any]) -> Iterator[str]:
    """Lines with the ratios of now to then (from `read_record`), row by row.

    A ratio below 1 is less time, memory or work than before. Rows that only one of them
    has are listed.
    """
    machine, versions = earlier.get("machine", {}), earlier.get("versions", {})
    yield (
        f"now / {earlier.get('date', 'then')} ({machine.get('device_kind')}, "
        f"{machine.get('cpu_cores')} CPU cores, jax {versions.get('jax')})"
    )
    then = {row["key"]: row for row in earlier["rows"]}
    now = {row.key: row.to_json() for row in rows}
    shared = [key for key in now if key in then]
    if shared:
        lines = [[key, *_ratios(now[key], then[key])] for key in shared]
        yield format_table([["  row", *_FIGURES], *([f"  {k}", *v] for k, *v in lines)])
    for where, names in (
        ("now only", now.keys() - then.keys()),
        ("then only", then.keys() - now.keys()),
    ):
        for name in sorted(names):
            yield f"  {where}: {name}"


def _ratios(now: dict[str, Any], then: dict[str, Any]) -> Iterator[str]:
    for figure in _FIGURES.values():
        a, b = figure(now), figure(then)
        yield f"{a / b:.3f}" if a and b else "-"
