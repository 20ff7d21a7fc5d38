"""Imports go down only, in the order of rooms of `docs/architecture.md`."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

from logocap_jax.methods import METHODS

ROOT = pathlib.Path(__file__).resolve().parents[1]
OURS = {
    *("logocap_jax", "data_pipeline", "train", "eval", "configs", "experiments"),
    "tests",
}

# A room may import the rooms before it. The rooms of a method come after all that
# methods share, and know nothing of each other.
ORDER = (
    *("__version__", "skeletons", "atomic", "checksums", "tables"),
    *("public_weights", "torch_rows"),
    *("device_memory", "sharding", "processes", "structures"),
    *("data_pipeline.read", "data_pipeline.feed", "data_pipeline.prepare"),
    "data_pipeline.drawn",
    *("ops", "geometry", "oks", "losses", "codecs", "inference", "models"),
    *("methods.base", "methods.stages", "methods.dense_config", "methods.targets"),
    "methods.selector",
    "methods.initial_poses",
    *(
        "methods.dense_loss",
        "methods.scorer",
        "methods.pose_map",
        "methods.candidates",
        "methods.higher_maps",
        "methods.higher_targets",
        "methods.pose_map_method",
        "methods.dense_weights",
        "methods.higher_weights",
        "methods.scorer_weights",
        "methods.scene",
        "methods.ONE",
        "methods",
    ),
    *("training", "evaluation", "visualization", "weights", "experiment"),
    *("predictor", "export", "media", "serving", "measure", "parity", "cli"),
    "__main__",
)
# They may import everything.
FREE = {"measure", "parity"}
# No room but these, and a method's own, imports a method.
KNOWS_METHODS = {"parity"}

# Optax and Orbax start JAX.
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}
BANNED: dict[str, set[str]] = {
    **dict.fromkeys(
        ("skeletons", "atomic", "tables", "public_weights", "torch_rows"), JAX
    ),
    **dict.fromkeys(("data_pipeline", "visualization"), JAX),
    **{name: {"flax"} for name in ("geometry", "oks", "losses", "ops", "codecs")},
    "inference": {"flax"},
}
# Rooms that `data_pipeline` may import: it starts no JAX.
BELOW_DATA = {"skeletons"}


def room_of(module: str) -> str:
    """`logocap_jax.ops.peaks` -> `ops`; a method -> `methods.NAME`."""
    top, *rest = module.split(".")
    if top == "data_pipeline":
        return ".".join([top, *rest[:1]])
    if top != "logocap_jax":
        return top
    if not rest or rest[0] == "__init__":
        return "logocap_jax"
    if rest[0] == "methods" and rest[1:] and f"methods.{rest[1]}" in _METHOD_ROOMS:
        return f"methods.{rest[1]}"
    return rest[0]


_METHOD_ROOMS = {name for name in ORDER if name.startswith("methods.")} | {
    f"methods.{name}" for name in METHODS
}


def rank(room: str) -> int:
    """Position in `ORDER`; scripts, configs and tests come last."""
    if room.removeprefix("methods.") in METHODS:
        room = "methods.ONE"
    return ORDER.index(room) if room in ORDER else len(ORDER)


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Names that any statement imports, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def objection(room: str, name: str) -> str | None:
    """Why `room` may not import `name`, or None if it may."""
    top = name.split(".")[0]
    if room == "logocap_jax":
        if name.startswith(("typing.", "logocap_jax.predictor")):
            return None
        return "the package's own __init__ imports nothing but the predictor, late"
    if not top:
        return "an import is written in full, not relative"
    if top not in OURS:
        banned = BANNED.get(room, BANNED.get(room.split(".")[0], set()))
        return f"{room} never imports {top}" if top in banned else None
    target = room_of(name)
    is_method = target.removeprefix("methods.") in METHODS
    if is_method and room not in {target, "methods", *KNOWS_METHODS}:
        return "only parity and the method itself import a method"
    if target in {room, "logocap_jax"} or room in FREE:
        return None
    if room.startswith("data_pipeline") and not target.startswith("data_pipeline"):
        allowed = target in BELOW_DATA
    else:
        allowed = rank(target) < rank(room)
    return None if allowed else f"{room} may import only rooms below it"


def violations(root: pathlib.Path) -> list[str]:
    """One line for each import below `root` that its room may not make."""
    found = []
    for package in ("logocap_jax", "data_pipeline"):
        for path in sorted((root / package).rglob("*.py")):
            file = path.relative_to(root)
            room = room_of(".".join(file.with_suffix("").parts))
            room = room.removesuffix(".__init__")
            known = {"logocap_jax", "data_pipeline", *ORDER, *FREE, *_METHOD_ROOMS}
            if room not in known:
                found.append(f"{file}: no room {room!r} in docs/architecture.md")
                continue
            for name in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
                if reason := objection(room, name):
                    found.append(f"{file}: imports {name}: {reason}")
    return found


def test_every_import_goes_down():
    found = violations(ROOT)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("data_pipeline/read/a.py", "import jax.numpy as jnp", "never imports jax"),
        ("data_pipeline/read/a.py", "from logocap_jax import oks", "below it"),
        ("data_pipeline/read/a.py", "import data_pipeline.feed.affine", "below it"),
        ("logocap_jax/__init__.py", "import numpy", "imports nothing"),
        ("logocap_jax/oks.py", "from flax import linen", "never imports flax"),
        ("logocap_jax/ops/a.py", "def f():\n  import flax", "never imports flax"),
        ("logocap_jax/ops/a.py", "from logocap_jax.models import hrnet", "below it"),
        ("logocap_jax/ops/a.py", "from . import peaks", "not relative"),
        ("logocap_jax/training/a.py", "import configs.common", "below it"),
        ("logocap_jax/training/a.py", "from logocap_jax import weights", "below it"),
        ("logocap_jax/predictor/a.py", "import logocap_jax.media.films", "below it"),
        ("logocap_jax/predictor/a.py", "import logocap_jax.parity.runner", "below it"),
        (
            "logocap_jax/experiment/a.py",
            "import logocap_jax.methods.logocap.spec",
            "import a method",
        ),
        (
            "logocap_jax/methods/logocap/a.py",
            "from logocap_jax.methods.center_offset import spec",
            "import a method",
        ),
        (
            "logocap_jax/methods/initial_poses.py",
            "import logocap_jax.methods.logocap.config",
            "import a method",
        ),
        ("logocap_jax/measure/a.py", "import logocap_jax.methods.logocap", "a method"),
        ("logocap_jax/misc.py", "", "no room 'misc'"),
    ],
)
def test_checker_catches_a_planted_violation(tmp_path, file, source, expected):
    _plant(tmp_path, {file: source})
    (line,) = violations(tmp_path)
    assert line.startswith(f"{file}: ")
    assert expected in line


def test_checker_accepts_what_the_order_allows(tmp_path):
    _plant(
        tmp_path,
        {
            "data_pipeline/feed/a.py": "from logocap_jax.skeletons import COCO",
            "logocap_jax/cli/a.py": "from logocap_jax.measure import plan",
            "logocap_jax/codecs/a.py": "import jax\nfrom logocap_jax import oks",
            "logocap_jax/methods/logocap/a.py": "from logocap_jax.methods import base",
            "logocap_jax/methods/base.py": "from logocap_jax import models",
            "logocap_jax/parity/a.py": "import logocap_jax.methods.logocap.spec",
            "logocap_jax/training/a.py": "from logocap_jax.methods.base import Method",
        },
    )
    assert not violations(tmp_path)


def _plant(root: pathlib.Path, files: dict[str, str]) -> None:
    for file, source in files.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
