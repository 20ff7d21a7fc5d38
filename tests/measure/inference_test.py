import pathlib
import re

import cv2
import jax
import numpy as np
import pytest

from logocap_jax.experiment.run import resolve
from logocap_jax.experiment.settings import load_config
from logocap_jax.measure import inference
from logocap_jax.measure.benchmark import BenchmarkOptions, Setting, fill
from logocap_jax.measure.inference import (
    make_pieces,
    needed_pieces,
    write_photographs,
)
from logocap_jax.methods import METHODS
from logocap_jax.methods.scene import draw_maps
from logocap_jax.structures import View

ROOT = pathlib.Path(__file__).parents[2]
TINY = ROOT / "tests" / "tiny_config.py"
TOYS = ROOT / "tests" / "toys" / "config.py"


@pytest.fixture(scope="module")
def run():
    return resolve(load_config(TINY, ["method.flip_test=True"]))


@pytest.fixture(scope="module")
def scene():
    """The maps of two images of four people."""
    maps = draw_maps(4, height=16, width=16, num_keypoints=17, embedding=2)
    return {name: np.stack([array, array]) for name, array in maps.items()}


@pytest.fixture(scope="module")
def results(run, scene):
    """Arrays of two images by all pieces, from the scene's maps and from computed."""
    image = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    view = View(image, np.full((2, 2), 64, np.int32))
    inputs = vars(view)
    variables = jax.jit(run.method.init)(jax.random.key(0))
    prepared = run.method.prepare(variables)
    pieces = make_pieces(run, tuple(scene))

    @jax.jit
    def run_all(arrays):
        for piece in pieces:
            taken = {name: arrays[name] for name in piece.reads}
            arrays = piece.run(prepared, taken) | arrays
        return arrays

    by_scene, by_maps = (
        run_all({**inputs, **scene, "computed": np.asarray(computed)})
        for computed in (False, True)
    )
    predict = jax.jit(run.method.predict)
    poses = predict(variables, view)
    return by_scene, by_maps, poses


def assert_same_poses(a, b):
    np.testing.assert_array_equal(a.valid, b.valid)
    assert np.asarray(a.valid).any()
    for name in ("keypoints", "keypoint_scores", "scores"):
        pair = (np.asarray(getattr(poses, name))[a.valid] for poses in (a, b))
        np.testing.assert_allclose(*pair, rtol=1e-3, atol=1e-5)


def test_all_in_one_program_finds_what_the_method_finds(run, results):
    _, by_maps, poses = results
    answer = run.method.answer
    assert_same_poses(by_maps["predict"][answer], poses[answer])


def test_the_stages_one_by_one_find_what_they_find_together(run, results):
    arrays, answer = results[0], run.method.answer
    assert_same_poses(arrays["outputs"][answer], arrays["after-scene"][answer])
    assert int(np.sum(arrays["after-scene"][answer].valid)) == 8


def test_the_maps_handed_in_count_unless_the_computed_ones_are_asked_for(run, results):
    arrays, answer = results[0], run.method.answer
    assert_same_poses(arrays["predict"][answer], arrays["after-scene"][answer])


def test_only_stages_after_the_dense_maps_depend_on_people(run, scene):
    pieces = make_pieces(run, tuple(scene))
    constant = [piece.name for piece in pieces if not piece.by_people]
    dense = ["normalisation", "mirror image", "backbone", "heads", "flip merge"]
    assert constant == dense
    assert [piece.name for piece in pieces[-2:]] == ["after-scene", "predict"]
    assert "mesh to scores" in [piece.name for piece in pieces]


def test_only_the_pieces_that_a_row_takes_arrays_of_are_needed(run, scene):
    pieces = make_pieces(run, tuple(scene))
    start = ("image", "valid_size", *scene)
    decoding = ["centre heatmap", "centres", "initial poses", "initial scores"]
    needed = needed_pieces(pieces, {"heads"}, start)
    dense = ["normalisation", "mirror image", "backbone", "heads"]
    assert [piece.name for piece in needed] == dense
    # In one loop, not stage by stage.
    needed = needed_pieces(pieces, {"pose NMS"}, start)
    assert [p.name for p in needed] == [*decoding, "mesh to scores", "pose NMS"]
    assert len(needed_pieces(pieces, {"predict"}, (*start, "computed"))) == 1


def measure(config, *overrides, **options):
    run = resolve(load_config(config, overrides))
    variables = fill(jax.eval_shape(run.method.init, jax.random.key(0)))
    quick = BenchmarkOptions(rounds=1, seconds=0.0)
    setting = Setting(2, (64, 64), "float32")
    return inference.measure_inference(
        run, setting, variables, **({"options": quick} | options)
    )


def test_another_method_has_rows_of_its_own_stages():
    options = BenchmarkOptions(compile_only=True)
    only = ["initial poses", "after-scene"]
    rows = measure(
        TINY, "method.name=center_offset", people=[3], only=only, options=options
    )
    assert [row.name for row in rows] == only


def test_a_step_on_the_host_has_a_row(monkeypatch):
    monkeypatch.setitem(METHODS, "host", "tests.toys.methods.host")
    rows = {row.name: row for row in measure(f"{TOYS}:host")}
    assert list(rows) == ["predict", "finish", "whole-path"]
    assert all(row.timing.median > 0 for row in rows.values())


def test_stages_without_scenes_are_timed_once(monkeypatch):
    monkeypatch.setitem(METHODS, "peaks", "tests.toys.methods.peaks")
    config = f"{TOYS}:peaks"
    rows = {row.name for row in measure(config)}
    assert rows == {"maps", "peaks", "predict", "whole-path"}
    with pytest.raises(ValueError, match="--people: got 3, but the method has no sc"):
        measure(config, people=[3])
    with pytest.raises(ValueError, match="--share-canvases: got a method that takes"):
        measure(config, share_canvases=True)


def test_the_room_names_no_method():
    name = f"({'|'.join(METHODS)})"  # the first is that of the package, too
    named = re.compile(rf"""["']{name}["']|methods\.{name}|LOGO-CAP""")
    for path in (ROOT / "logocap_jax" / "measure").glob("*.py"):
        assert not named.findall(path.read_text()), path


def test_photographs_have_the_size_asked_for(tmp_path):
    first, second = write_photographs(tmp_path, 2, size=(64, 96))
    assert cv2.imread(str(first)).shape == (64, 96, 3)
    assert first.read_bytes() != second.read_bytes()
