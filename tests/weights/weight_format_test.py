"""A made-up format that has what two present ones lack: all of it survives."""

import functools
import subprocess
import sys
import types

import numpy as np
import pytest

from logocap_jax import methods
from logocap_jax.methods.base import Method, Part
from logocap_jax.torch_rows import (
    BIASED_CONV,
    CONV,
    NORM,
    SAME,
    Constant,
    Leaf,
    Row,
    WeightFormat,
)
from logocap_jax.weights import files, recognise
from logocap_jax.weights.files import start_from
from logocap_jax.weights.trees import flatten, unflatten

GRID = np.arange(6.0, dtype=np.float32).reshape(2, 3)
BRANCHES = 3


def _merge(state):
    """Branches are one grouped kernel here; one tensor is listed by all of them."""
    state = dict(state)
    names = [f"branches.{i}.weight" for i in range(BRANCHES)]
    if all(name in state for name in names):
        state["branches.weight"] = np.concatenate([state.pop(name) for name in names])
    shared = [f"branches.{i}.shared" for i in range(BRANCHES)]
    if all(name in state for name in shared):
        first, *others = (state.pop(name) for name in shared)
        if all(np.array_equal(first, other) for other in others):
            state["branches.shared"] = first
    return state


def _split(state):
    state = dict(state)
    grouped, shared = state.pop("branches.weight"), state.pop("branches.shared")
    for i, kernel in enumerate(np.split(grouped, BRANCHES)):
        state[f"branches.{i}.weight"], state[f"branches.{i}.shared"] = kernel, shared
    return state


def _recognise(shapes):
    kernel = shapes.get("params/net/branches/kernel")
    return kernel and {
        "width": kernel[-1] // BRANCHES,
        "num_keypoints": 17,
        "scorer": any(path.startswith("params/scorer/") for path in shapes),
    }


FORMAT = WeightFormat(
    rows=(
        Row("stem.conv{n}", "net/stem{n}", CONV),
        Row("stem.bn{n}", "net/norm{n}", NORM),
        Row(
            "branches",
            "net/branches",
            (
                Leaf(
                    "weight", "params", "kernel", CONV[0].layout, (Constant("g", GRID),)
                ),
                Leaf("shared", "params", "shared", SAME),
            ),
        ),
        Row("scorer.l{n}", "scorer/layer{n}", BIASED_CONV),
    ),
    recognise=_recognise,
    aliases=((r"^old_stem\.", "stem."),),
    merge=_merge,
    split=_split,
    files=("scorer",),
)


@pytest.fixture
def made_up(monkeypatch):
    """Adds the method to `METHODS`."""
    shapes = FORMAT.from_torch(network() | scorer("scorer.")).arrays

    def make(config):
        tree = unflatten(
            {
                path: np.zeros(x.shape, "f4")
                for path, x in shapes.items()
                if config["scorer"] or "scorer" not in path
            }
        )
        parts = (Part("scorer", ("scorer",), optional=True),)
        nothing = [None] * 5
        return Method(lambda key: tree, *nothing, "poses", parts=parts)

    package = "tests.weights.made_up"
    spec, weights = types.ModuleType("spec"), types.ModuleType("weights")
    spec.SPEC, weights.FORMAT = types.SimpleNamespace(make=make), FORMAT
    monkeypatch.setattr(methods, "build_config", lambda name, settings: settings)
    monkeypatch.setitem(sys.modules, f"{package}.spec", spec)
    monkeypatch.setitem(sys.modules, f"{package}.weights", weights)
    monkeypatch.setitem(methods.METHODS, "made_up", package)


def network(stem="stem."):
    rng = np.random.default_rng(0)
    shared = rng.random(4).astype("f4")
    state = {f"{stem}conv1.weight": rng.random((4, 3, 3, 3)).astype("f4")}
    for name in ("weight", "bias", "running_mean", "running_var"):
        state[f"{stem}bn1.{name}"] = rng.random(4).astype("f4")
    state[f"{stem}bn1.num_batches_tracked"] = np.zeros((), np.int64)
    for i in range(BRANCHES):
        kernel = rng.random((2, 4, 3, 3)).astype("f4")
        state |= {f"branches.{i}.weight": kernel, f"branches.{i}.shared": shared}
    return state | {"branches.g": GRID}


def scorer(prefix=""):
    rng = np.random.default_rng(1)
    return {
        f"{prefix}l1.weight": rng.random((5, 4, 1, 1)).astype("f4"),
        f"{prefix}l1.bias": rng.random(5).astype("f4"),
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("stem", ["stem.", "module.stem.", "old_stem."])
def test_two_files_travel_there_and_back_bit_for_bit(tmp_path, stem):
    source, second = tmp_path / "a.pth", tmp_path / "b.pth"
    files.write_zip(source, network(stem))
    files.write_zip(second, scorer())
    variables, report = files.read_weights(source, files={"scorer": second})
    assert report.complete
    kernel = variables["params"]["net"]["branches"]["kernel"]
    assert kernel.shape == (3, 3, 4, 2 * BRANCHES)
    files.save_safetensors(tmp_path / "c", variables)
    variables = files.load_weights(tmp_path / "c")
    written = files.save_torch(tmp_path / "d.pth", variables)
    assert set(written) == {tmp_path / "d.pth", tmp_path / "scorer_d.pth"}
    assert_same(files.read_file(tmp_path / "d.pth"), network())
    assert_same(files.read_file(tmp_path / "scorer_d.pth"), scorer())
    with pytest.raises(ValueError, match=r"scorer_d\.pth: exists"):
        files.save_torch(tmp_path / "d.pth", variables)


@pytest.mark.usefixtures("made_up")
def test_an_optional_part_may_be_absent_but_not_by_half():
    variables, report = files.to_variables(network())
    assert report.complete
    assert "scorer" not in variables["params"]
    assert_same(files.to_state_dict(variables), network())
    half = network() | {"scorer.l1.bias": scorer()["l1.bias"]}
    with pytest.raises(ValueError, match=r"1 arrays missing .*scorer/layer1/kernel"):
        files.to_variables(half)


@pytest.mark.usefixtures("made_up")
def test_an_optional_part_that_the_settings_leave_out_is_left_out():
    both = FORMAT.from_torch(network() | scorer("scorer.")).arrays
    without = FORMAT.from_torch(network()).arrays
    variables, report = files.to_variables(
        both, expected=unflatten(without), optional=["scorer"]
    )
    assert report.complete
    assert_same(flatten(variables), without)
    with pytest.raises(ValueError, match=r"2 arrays unused .*scorer/layer1"):
        files.to_variables(both, expected=unflatten(without))
    with pytest.raises(ValueError, match="got weights without scorer, expected them"):
        files.to_variables(without, expected=unflatten(both), optional=["scorer"])


@pytest.mark.usefixtures("made_up")
def test_a_part_that_does_not_learn_must_be_there(tmp_path):
    both = network() | scorer("scorer.")
    fresh = unflatten(FORMAT.from_torch(both).arrays)
    files.write_zip(tmp_path / "a.pth", network())
    start = functools.partial(start_from, tmp_path / "a.pth", fresh, method="made_up")
    start(may_lack=["scorer"])
    with pytest.raises(ValueError, match="2 arrays lacking in parts that do not learn"):
        start(may_lack=["net"])


@pytest.mark.usefixtures("made_up")
def test_a_run_starts_from_weights_without_the_optional_part(tmp_path):
    both = network() | scorer("scorer.")
    fresh = {path: array + 1 for path, array in FORMAT.from_torch(both).arrays.items()}
    files.write_zip(tmp_path / "a.pth", network())
    found = start_from(tmp_path / "a.pth", unflatten(fresh), method="made_up")
    taken = FORMAT.from_torch(network()).arrays
    assert_same(flatten(found), fresh | taken)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(
    ("change", "unused"),
    [
        ({"branches.g": GRID + 1}, "branches.g"),
        ({"branches.1.shared": np.zeros(4, "f4")}, None),
        ({"branches.1.weight": None}, "branches.0.weight"),
        ({"stem.conv1.more": GRID}, "stem.conv1.more"),
    ],
    ids=["another constant", "copies that differ", "a branch short", "unknown"],
)
def test_what_does_not_fit_is_reported(change, unused):
    state = {k: v for k, v in (network() | change).items() if v is not None}
    with pytest.raises(ValueError, match=r"arrays (unused|missing)"):
        files.to_variables(state)
    report = files.to_variables(state, partial=True)[1]
    assert unused is None or unused in report.unused
    assert report.unused or report.missing


@pytest.mark.usefixtures("made_up")
def test_it_is_recognised_beside_the_others(tiny_state):
    assert recognise.recognise_weights(network()) == (
        "made_up",
        {"width": 2, "num_keypoints": 17, "scorer": False},
    )
    assert recognise.recognise_weights(tiny_state)[0] == "logocap"


READ_AND_WRITE = """
import sys
from logocap_jax.cli import convert
from logocap_jax.weights import files, recognise, settings
from logocap_jax.weights.trees import unflatten
source, target = sys.argv[1:]
found = recognise.identify(files.read_file(source))
assert found.settings
variables = unflatten(found.source.arrays)
files.save_safetensors(target, variables)
settings.load_settings(__import__("pathlib").Path(target), {})
files.save_torch(target + ".pth", files.load_weights(target))
print([name for name in ("jax", "flax", "orbax", "torch") if name in sys.modules])
"""


def test_reading_and_writing_start_no_jax(tmp_path, tiny_state):
    source, target = tmp_path / "a.pth", tmp_path / "a.safetensors"
    files.write_zip(source, tiny_state)
    result = subprocess.run(
        [sys.executable, "-c", READ_AND_WRITE, str(source), str(target)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "[]\n"
    steps = {k: np.zeros((), np.int64) for k in tiny_state if k.endswith("_tracked")}
    written = files.read_file(tmp_path / "a.safetensors.pth")
    assert_same(written, tiny_state | steps)
