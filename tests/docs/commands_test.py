import functools
import re
import shutil

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from logocap_jax import cli
from logocap_jax.experiment import run
from logocap_jax.experiment.settings import load_config
from tests.docs import world
from tests.docs.pages import PAGES, ROOT, blocks, commands
from tests.docs.parsers import SCRIPTS, arguments, options

# How a command begins -> why no test runs it; each is parsed where it is one of ours.
NOT_RUN = {
    "make ": "a target of the Makefile, checked to exist",
    "git clone": "needs the network; its address depends on where you have it from",
    "cd ": "a step of the reader's shell",
    "source .venv": "what `make` has made",
    "pip install": "the environment must not change under the tests",
    "logocap prepare .* --beam": "needs Apache Beam; tests/data_pipeline runs it",
    "logocap train --config ablations": "tests/experiments has its config",
    "logocap (train|eval) --config dekr": "tests/methods trains a scorer",
    "python -m experiments.ablations": "minutes long; tests/experiments runs it",
    "logocap parity": "minutes long; tests/parity compares the same arrays",
    "logocap benchmark": "minutes long; tests/measure runs each kind",
    "logocap plan": "minutes long; tests/cli plans small nets",
    "logocap serve": "serves until Ctrl-C; tests/serving uses the page in a browser",
    "logocap doctor": "a self-test of seconds; tests/cli/doctor_test.py runs it",
    r"logocap train \.\.\.": "part of a command on several machines",
    "sha256sum": "a program of the system",
    "srun": "needs SLURM",
    "mpirun": "needs Open MPI",
    "gcloud": "needs Google Cloud",
}

_OURS = ("logocap ", *(f"python {script} " for script in SCRIPTS))


def is_ours(command):
    return f"{command.text} ".startswith(_OURS)


BLOCKS = [block for page in PAGES for block in blocks(page)]
COMMANDS = [
    command for block in BLOCKS if block.language == "sh" for command in commands(block)
]
INLINE = [
    command
    for block in BLOCKS
    if block.language == "inline" and block.content.startswith((*_OURS, "make "))
    for command in commands(block)
]
OURS = [c for c in (*COMMANDS, *INLINE) if is_ours(c)]
# These compile networks of their own, or are of what only LOGO-CAP has.
SLOW_PAGES = (
    *("docs/export.md", "docs/own_data.md", "docs/protocols.md"),
    "docs/tutorial.md",
)
RUN_PAGES = [
    pytest.param(page, marks=pytest.mark.slow if page in SLOW_PAGES else ())
    for page in sorted({b.page for b in BLOCKS if b.language in ("python", "sh")})
]


def why_not_run(text):
    return next((why for how, why in NOT_RUN.items() if re.match(how, text)), None)


def each(found):
    return pytest.mark.parametrize(
        "command", [pytest.param(c, id=f"{c.place} {c.text:.40}") for c in found]
    )


@each(COMMANDS)
def test_a_command_is_run_or_listed_with_a_reason(command):
    assert why_not_run(command.text) or is_ours(command), (
        f"{command.place}: {command.text!r} is neither run nor listed in NOT_RUN; what "
        "is no command belongs into a ```text block"
    )


@pytest.mark.parametrize("how", NOT_RUN)
def test_the_list_of_what_is_not_run_has_no_leftovers(how):
    spans = [block.content for block in BLOCKS if block.language == "inline"]
    found = [command.text for command in COMMANDS] + spans
    assert any(re.match(how, text) for text in found)


@each([c for c in COMMANDS if is_ours(c) and "..." not in c.words])
def test_a_command_is_understood_by_its_parser(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    args = cli.parse(arguments(command.words))
    if args.run in (cli.train.run, cli.eval.run):
        load_config(args.config, args.set)


@each(OURS)
def test_a_command_has_only_options_that_exist(command):
    given = {word.partition("=")[0] for word in command.words if word[:2] == "--"}
    known = options(command.words)
    assert {name for name in given if not name.startswith("--config.")} <= known


@each([c for c in (*COMMANDS, *INLINE) if c.words[0] == "make" and len(c.words) > 1])
def test_a_target_of_the_makefile_exists(command):
    makefile = (ROOT / "Makefile").read_text()
    for target in command.words[1:]:
        assert "=" in target or f"\n{target}: " in makefile


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    """Makes the world that a page starts from, once for each method."""

    @functools.cache
    def prepare_(method):
        folder = tmp_path_factory.mktemp("docs") / "world"
        folder.mkdir()
        wanted = ("logocap prepare coco", "logocap train")
        readme = [c for c in COMMANDS if c.place.startswith("README.md")]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            setting_up = [c.words for c in readme if c.text.startswith(wanted)]
            world.build(setting_up, method=method)
        return folder

    return prepare_


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """Programs for one device are compiled faster."""
    mesh = Mesh(np.asarray(jax.devices()[:1]), ("data",))
    monkeypatch.setattr(run, "make_mesh", lambda: mesh)


@pytest.mark.parametrize("page", RUN_PAGES)
def test_what_a_page_tells_to_run_runs(page, prepare, tmp_path, monkeypatch):
    method = "logocap" if page in SLOW_PAGES else "center_offset"
    shutil.copytree(prepare(method), tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    shape = (1, 64, 128, 3) if page == "docs/export.md" else (64, 96, 3)
    names = {"image": np.zeros(shape, np.uint8), "__name__": page}
    for block in blocks(page):
        if block.language == "python":
            code = world.stand_in(block.content)
            exec(compile(code, f"{page}:{block.line}", "exec"), names)
        elif block.language == "sh":
            for command in commands(block):
                if not why_not_run(command.text):
                    print(f"{command.place}: {command.text}")
                    world.run(command.words)
