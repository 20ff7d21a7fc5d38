"""Imports follow the table of `docs/architecture.md`."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
OURS = {
    *("logocap_jax", "data_pipeline", "train", "eval", "configs", "experiments"),
    "tests",
}

NUMERICS = {"skeletons", "structures", "geometry", "oks", "losses", "ops"}

# The rooms of `logocap_jax`, and `data_pipeline`: the other rooms each may import.
MAY_IMPORT: dict[str, set[str]] = {
    "skeletons": set(),
    "atomic": set(),
    "checksums": set(),
    "torch_rows": set(),
    "tables": set(),
    "device_memory": set(),
    "structures": set(),
    "geometry": NUMERICS,
    "oks": NUMERICS,
    "losses": NUMERICS,
    "ops": NUMERICS,
    "codecs": NUMERICS,
    "inference": NUMERICS | {"codecs"},
    "models": {"ops"},
    "sharding": set(),
    "processes": set(),
    "methods": NUMERICS
    | {"codecs", "inference", "models", "methods.base"}
    | {"methods.stages", "methods.initial_poses", "methods.dense_loss"}
    | {"methods.dense_weights", "methods.scene"}
    | {"torch_rows"},
    "training": {
        *("methods.base", "structures", "sharding", "processes", "atomic"),
        "checksums",
    },
    "evaluation": {
        *("methods.base", "structures", "inference", "skeletons", "sharding"),
        *("atomic", "processes", "tables"),
    },
    "visualization": {"skeletons", "atomic"},
    "weights": {
        *("atomic", "checksums", "skeletons", "torch_rows"),
        *("methods", "methods.base"),
    },
    "data_pipeline": {"skeletons"},
}

# The front doors; they may import everything.
FREE = {
    *("cli", "experiment", "export", "measure", "media", "parity", "predictor"),
    *("serving",),
}

# Optax and Orbax start JAX.
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}
BANNED: dict[str, set[str]] = {
    "skeletons": JAX,
    "geometry": {"flax"},
    "oks": {"flax"},
    "losses": {"flax"},
    "ops": {"flax"},
    "codecs": {"flax"},
    "inference": {"flax"},
    "visualization": JAX,
    "atomic": JAX,
    "torch_rows": JAX,
    "tables": JAX,
    "data_pipeline": JAX,
}


def room_of(name: str, root: pathlib.Path) -> str:
    """`logocap_jax.ops.peaks` -> `ops`; each method is a room `methods.<name>`."""
    top, *rest = name.split(".")
    if top != "logocap_jax":
        return top
    if rest[:1] == ["__main__"]:
        return "cli"
    if not rest or rest[0].startswith("__"):
        return "logocap_jax"
    if rest[0] == "methods" and rest[1:]:
        path = root / "logocap_jax" / "methods" / rest[1]
        if path.is_dir() or path.with_suffix(".py").is_file():
            return f"methods.{rest[1]}"
    return rest[0]


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Names that any statement imports, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def objection(room: str, name: str, root: pathlib.Path) -> str | None:
    """Why `room` may not import `name`, or None if it may."""
    kind, top = room.split(".")[0], name.split(".")[0]
    if room == "logocap_jax":
        if name.startswith(("typing.", "logocap_jax.predictor")):
            return None
        return "the package's own __init__ imports nothing but the predictor, late"
    if not top:
        return "an import is written in full, not relative"
    if top not in OURS:
        return f"{kind} never imports {top}" if top in BANNED.get(kind, ()) else None
    target = room_of(name, root)
    allowed = MAY_IMPORT[kind] | {room, "logocap_jax"}
    builds_methods = room == "methods" and target.startswith("methods.")
    if target in allowed or builds_methods:
        return None
    return f"{room} may import of ours only {', '.join(sorted(allowed))}"


def violations(root: pathlib.Path) -> list[str]:
    """One line for each import below `root` that its room may not make."""
    found = []
    for package in ("logocap_jax", "data_pipeline"):
        for path in sorted((root / package).rglob("*.py")):
            file = path.relative_to(root)
            parts = file.with_suffix("").parts
            room = room_of(".".join(parts).removesuffix(".__init__"), root)
            if room in FREE:
                continue
            if room.split(".")[0] not in MAY_IMPORT and room != "logocap_jax":
                found.append(f"{file}: no room {room!r} in docs/architecture.md")
                continue
            for name in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
                if reason := objection(room, name, root):
                    found.append(f"{file}: imports {name}: {reason}")
    return found


def test_every_import_follows_the_table_of_rooms():
    found = violations(ROOT)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("data_pipeline/a.py", "import jax.numpy as jnp", "never imports jax"),
        ("data_pipeline/a.py", "from logocap_jax import oks", "only"),
        ("logocap_jax/__init__.py", "import numpy", "imports nothing"),
        ("logocap_jax/oks.py", "from flax import linen", "never imports flax"),
        ("logocap_jax/ops/a.py", "def f():\n  import flax", "never imports flax"),
        ("logocap_jax/ops/a.py", "from logocap_jax.models import hrnet", "only"),
        ("logocap_jax/ops/a.py", "from . import peaks", "not relative"),
        ("logocap_jax/training/a.py", "import configs.common", "only"),
        ("logocap_jax/training/a.py", "from logocap_jax import methods", "only"),
        ("logocap_jax/methods/a.py", "from logocap_jax.methods import b", "only"),
        ("logocap_jax/methods/a.py", "import logocap_jax.methods.b.c", "only"),
        ("logocap_jax/misc.py", "", "no room 'misc'"),
    ],
)
def test_checker_catches_a_planted_violation(tmp_path, file, source, expected):
    _plant(tmp_path, {"logocap_jax/methods/b/__init__.py": "", file: source})
    (line,) = violations(tmp_path)
    assert line.startswith(f"{file}: ")
    assert expected in line


def test_checker_accepts_what_the_table_allows(tmp_path):
    _plant(
        tmp_path,
        {
            "data_pipeline/a.py": "from logocap_jax.skeletons import COCO",
            "logocap_jax/cli/__init__.py": "import train",
            "logocap_jax/codecs/a.py": "import jax\nfrom logocap_jax import oks",
            "logocap_jax/methods/__init__.py": "import logocap_jax.methods.a",
            "logocap_jax/methods/a.py": "from logocap_jax.methods import base",
            "logocap_jax/methods/base.py": "from logocap_jax import models",
            "logocap_jax/training/a.py": "from logocap_jax.methods.base import Method",
        },
    )
    assert not violations(tmp_path)


def _plant(root: pathlib.Path, files: dict[str, str]) -> None:
    for file, source in files.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
