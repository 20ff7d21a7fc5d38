"""No file outside a method's own folders knows a method by name."""

import ast
import pathlib

import pytest

from logocap_jax.methods import METHODS

ROOT = pathlib.Path(__file__).resolve().parents[1]
OWN = ("logocap_jax/methods", "logocap_jax/parity")
# Result sets and maps of single methods.
WORDS = {*METHODS, "bound", "kam"}
# The command and the package are called like the first method.
COMMAND = {"prog", "name"}


def mentions(source: str) -> list[str]:
    """Lines of Python with a word of a single method, as text or as part of a name."""
    tree = ast.parse(source)
    commands = {
        keyword.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in COMMAND
    }
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() as text) if node not in commands:
                is_mention = text in WORDS or text.startswith("kam_")
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                is_mention = bool({"kam", "center_offset"} & {name, *name.split("_")})
            case ast.ImportFrom(module=str() as module):
                names = [f"{module}.{alias.name}." for alias in node.names]
                is_mention = any(
                    f".methods.{method}." in name
                    for method in METHODS
                    for name in names
                )
            case _:
                continue
        if is_mention:
            found.append(f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    return found


def test_nothing_outside_a_methods_folders_names_it():
    found = []
    for package in ("logocap_jax", "data_pipeline", "experiments"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(OWN):
                text = path.read_text(encoding="utf-8")
                found += [f"{name}: {mention}" for mention in mentions(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        'name = "center_offset"',
        'if result == "bound": pass',
        "explained.kam",
        "from logocap_jax.methods.logocap import spec",
        "def draw(kam_radius): pass",
    ],
)
def test_a_planted_name_is_found(source):
    assert mentions(source)


@pytest.mark.parametrize(
    "source",
    [
        'parser = ArgumentParser(prog="logocap")',
        "from logocap_jax import cli",
        "initial",
    ],
)
def test_the_command_and_plain_words_are_no_names(source):
    assert not mentions(source)
