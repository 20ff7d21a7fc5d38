"""mmpose's decoders against its own results, and their rules by plain loops."""

import dataclasses
from types import SimpleNamespace

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.feed.affine import eval_affine, eval_input_size
from logocap_jax import Predictor
from logocap_jax.methods import build_config, pose_map
from logocap_jax.methods.dekr import heat as heat_reading
from logocap_jax.methods.dekr import stages
from logocap_jax.methods.dekr.spec import SPEC
from logocap_jax.methods.stages import run_stages
from logocap_jax.predictor.inputs import by_short_side, make_input
from logocap_jax.skeletons import COCO, CROWDPOSE
from logocap_jax.structures import View
from logocap_jax.weights.settings import config_of, load_settings

ARRAYS = (
    *("heatmaps_raw", "offsets_raw", "heatmaps", "pose_map", "candidates", "heat"),
    *("center_scores", "center_valid", "predicted_oks", "outputs"),
)


@pytest.fixture(scope="module")
def folder(shared_dir):
    return shared_dir / "siblings" / "mmpose"


@pytest.fixture(scope="module")
def photo(shared_dir):
    return shared_dir / "data" / "photos" / "val2017" / "000000217285.jpg"


def run_case(folder, photo, form, decoder):
    """A whole run of the published file, with all arrays on the way."""
    path = folder / f"dekr_tiny_mmpose_{form}.pth"
    settings, variables = load_settings(path, {"decoder": decoder})
    config = config_of(settings)
    rules = config.rules
    given = make_input(photo, by_short_side(256, rules.multiple, rules.rounding))
    view = {
        "image": given.pixels[None],
        "valid_size": None,
        "input_to_image": jnp.asarray(given.input_to_image[None], jnp.float32),
    }
    run = jax.jit(
        lambda variables, view: run_stages(
            stages.make_stages(config), variables, view, ARRAYS
        )
    )
    with jax.default_matmul_precision("highest"):
        found = run(variables, view)
    with np.load(folder / f"ref_mmpose_{form}.npz") as arrays:
        expected = dict(arrays)
    return SimpleNamespace(
        config=config, variables=variables, given=given, view=view, found=found,
        expected=expected,
    )  # fmt: skip


@pytest.fixture(scope="module")
def case(folder, photo):
    """Of mmpose 1.x."""
    return run_case(folder, photo, "1x", "mmpose")


def with_other_settings(case, names, **changes):
    """The poses from arrays that are there already, with other settings."""
    config = dataclasses.replace(case.config, **changes)
    view = case.view | {name: jnp.asarray(case.found[name]) for name in names}
    found = run_stages(stages.make_stages(config), case.variables, view, ("outputs",))
    return found["outputs"]["dekr"]


def in_image(case, poses):
    kept = np.asarray(poses.valid[0])
    points = np.asarray(poses.keypoints[0])[kept]
    to_image = case.given.input_to_image
    return (
        points @ to_image[:, :2].T + to_image[:, 2],
        np.asarray(poses.keypoint_scores[0])[kept],
        np.asarray(poses.scores[0])[kept],
    )


def assert_near(found, expected):
    """At most 1e-5 of the largest value."""
    error = np.abs(np.asarray(found) - expected).max()
    assert error <= 1e-5 * np.abs(expected).max()


def test_inputs_and_maps_are_those_of_mmpose(case):
    expected = case.expected
    np.testing.assert_array_equal(case.given.pixels, expected["image_resized"])
    height, width = expected["heatmaps"].shape[1:]
    assert_near(case.found["heatmaps"][0], np.moveaxis(expected["heatmaps"], 0, -1))
    ours = case.found["pose_map"][0] - np.indices((height, width))[::-1].transpose(
        1, 2, 0
    )[:, :, None].astype(np.float32)
    theirs = expected["displacements"].reshape(-1, 2, height, width)
    assert_near(ours, theirs.transpose(2, 3, 0, 1))


def test_candidates_and_their_scores_are_those_of_mmpose(case):
    expected, found = case.expected, case.found
    rows = np.delete(np.arange(30), expected["tied_rows"])
    for name, theirs in (
        ("candidates", "decoded_keypoints"),
        ("heat", "keypoint_heat"),
        ("center_scores", "root_scores"),
        ("predicted_oks", "rescore"),
    ):
        assert_near(np.asarray(found[name][0])[rows], expected[theirs][rows])


@pytest.mark.parametrize(
    ("names", "changes", "suffix"),
    [
        ((), {}, ""),
        (("candidates", "heat", "center_scores"), {"scorer": False}, "_no_rescore"),
    ],
)
def test_final_poses_are_those_of_mmpose(case, names, changes, suffix):
    poses = case.found["outputs"]["dekr"]
    if changes:
        poses = with_other_settings(case, (*names, "center_valid"), **changes)
    points, keypoint_scores, scores = in_image(case, poses)
    expected = case.expected
    tied = np.isin(expected[f"nms_keep{suffix}"], expected["tied_rows"])
    wanted = expected[f"nms_keypoints{suffix}"]
    assert points.shape == wanted.shape
    assert np.abs(points - wanted)[~tied].max() < 0.01
    wanted = expected[f"nms_scores{suffix}"]
    np.testing.assert_allclose(keypoint_scores[~tied], wanted[~tied], atol=1e-5)
    np.testing.assert_allclose(scores[~tied], wanted.mean(1)[~tied], atol=1e-5)


def test_without_the_flip_test_poses_are_those_of_mmpose(case):
    raw = {name: case.found[name][:1] for name in ("heatmaps_raw", "offsets_raw")}
    alone = SimpleNamespace(**{**vars(case), "found": raw})
    poses = with_other_settings(alone, tuple(raw), flip_test=False)
    points, keypoint_scores, _ = in_image(case, poses)
    wanted = case.expected["noflip_keypoints"]
    # Of equal centres at the end of the candidates any may be taken.
    same = np.abs(points - wanted).max(axis=(1, 2)) < 0.01
    assert same.sum() >= len(same) - 1
    wanted = case.expected["noflip_scores"]
    np.testing.assert_allclose(keypoint_scores[same], wanted[same], atol=1e-5)


def test_poses_of_the_older_decoder_are_those_of_mmpose(folder, photo):
    case = run_case(folder, photo, "0x", "mmpose_0x")
    expected = case.expected
    points, keypoint_scores, scores = in_image(case, case.found["outputs"]["dekr"])
    assert points.shape == expected["keypoints"].shape
    assert np.abs(points - expected["keypoints"]).max() < 0.01
    np.testing.assert_allclose(keypoint_scores, expected["keypoint_scores"], atol=1e-5)
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-5)
    names = ("candidates", "heat", "center_scores", "center_valid")
    poses = with_other_settings(case, names, scorer=False)
    np.testing.assert_allclose(
        in_image(case, poses)[2], expected["scores_no_rescore"], atol=1e-5
    )


def test_a_predictor_uses_the_decoder_and_shares_canvases(folder, photo):
    path = folder / "dekr_tiny_mmpose_1x.pth"
    predictor = Predictor.from_weights(
        path, short_side=128, settings={"decoder": "mmpose", "num_slots": 8}
    )
    exact = Predictor.from_weights(
        path,
        short_side=128,
        settings={"decoder": "mmpose", "num_slots": 8},
        share_canvases=False,
    )
    image = cv2.imread(str(photo))[:, :500, ::-1]
    found, expected = predictor(image), exact(image)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-3)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.02)


@pytest.mark.parametrize("decoder", ["mmpose", "mmpose_0x"])
def test_heat_is_read_between_cells_or_pixels(decoder):
    """By OpenCV's resizing, and bilinear sampling in a loop."""
    rng = np.random.default_rng(0)
    maps = rng.random((8, 12, 3)).astype(np.float32)
    points = rng.uniform(-6, 54, (5, 2, 2)).astype(np.float32)
    points[0] = [[0, 0], [47, 31]]
    config = build_config("dekr", {"decoder": decoder})
    (found,) = heat_reading.read_between(
        config, {}, jnp.asarray(points)[None], (jnp.asarray(maps)[None],), None
    )
    unit, grid = 4, maps
    if decoder == "mmpose_0x":
        unit, grid = 1, cv2.resize(maps, (48, 32), interpolation=cv2.INTER_LINEAR)
    for n, k in np.ndindex(5, 2):
        sides = np.array(grid.shape[1::-1])
        place = points[n, k] / unit * sides / (sides - 1) - 0.5
        x, y = np.clip(place, 0, sides - 1)
        value = 0.0
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            row, column = int(y) + i, int(x) + j
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            if weight > 0:
                value += weight * grid[row, column, k]
        assert found[0, n, k] == pytest.approx(value, abs=1e-5)


def test_the_mirror_image_is_moved_as_each_decoder_says():
    rng = np.random.default_rng(1)
    heat = rng.random((2, 3, 5, 18)).astype(np.float32)
    offsets = rng.random((2, 3, 5, 17, 2)).astype(np.float32)
    config = build_config("dekr", {"decoder": "mmpose"})
    flip = [*config.skeleton.flip_index, 17]
    stage = pose_map.flip_stage(config, heatmap_shift=1, pose_shift=0.75)
    heatmaps, poses = stage.run({}, jnp.asarray(heat), jnp.asarray(offsets), None)
    for y, x, k in np.ndindex(3, 5, 18):
        mirrored = heat[1, :, ::-1][..., flip]
        expected = (heat[0, y, x, k] + mirrored[y, x - 1 if x else 0, k]) / 2
        assert heatmaps[0, y, x, k] == pytest.approx(expected, abs=1e-6)
    for y, x, k in np.ndindex(3, 5, 17):
        to_right = offsets[1, y, 4 - x, flip[k], 0] + 0.75  # - displacement
        expected = x + (-offsets[0, y, x, k, 0] + to_right) / 2
        assert poses[0, y, x, k, 0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("rounding", "size", "offset"),
    [
        # 512 * 401 / 400 = 513.28: cut to 513 and up to 576; middle 200.5 -> 201.
        ("half up", (576, 512), (576 / 2 - 1.28 * 201, 0.0)),
        ("half even", (576, 512), (576 / 2 - 1.28 * 200, 0.0)),
        ("none", (576, 512), (576 / 2 - 1.28 * 200.5, 0.0)),
    ],
)
def test_middles_of_images_are_rounded(rounding, size, offset):
    rule = {"short_side": 512, "rounding": rounding}
    assert eval_input_size((401, 400), **rule) == size
    transform = eval_affine((401, 400), size, rounding)
    np.testing.assert_allclose(transform[:, 2], offset, atol=1e-9)


def test_sides_are_not_cut_before_they_are_rounded_up():
    # 512 * 1001 / 1000 = 512.512
    rule = {"short_side": 512, "multiple": 32}
    assert eval_input_size((1001, 1000), **rule) == (512, 512)
    assert eval_input_size((1001, 1000), **rule, rounding="none") == (544, 512)
    assert eval_input_size((1000, 1001), **rule, rounding="none") == (512, 544)
    assert eval_input_size((1000, 1000), **rule, rounding="none") == (512, 512)


def test_the_older_decoder_has_another_limit_for_the_wide_net_on_crowdpose():
    def most_close(channels, skeleton, decoder):
        settings = {"backbone": {"channels": channels}, "decoder": decoder}
        config = build_config("dekr", settings)
        config = dataclasses.replace(config, skeleton=skeleton)
        return int(config.nms_share * skeleton.num_keypoints)

    assert most_close(48, CROWDPOSE, "mmpose_0x") == 8
    assert most_close(32, CROWDPOSE, "mmpose_0x") == 7
    assert most_close(48, CROWDPOSE, "mmpose") == 7
    assert most_close(48, COCO, "mmpose_0x") == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder": "torch"}, "got decoder='torch', expected one of official, mmpose"),
        ({"decoder": "mmpose", "matching": True}, "only the official decoder has them"),
        ({"decoder": "mmpose", "test_scales": (1.0, 2.0)}, "only the official decoder"),
    ],
)
def test_what_a_decoder_cannot_do_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build_config("dekr", settings)


@pytest.mark.parametrize("decoder", ["official", "mmpose"])
def test_a_scorer_learns_from_poses_of_the_release(decoder, monkeypatch):
    used = []
    monkeypatch.setattr(stages, "make_stages", lambda config: used.append(config) or ())
    settings = {**SPEC.tiny, "scorer": True, "decoder": decoder}
    finder = SPEC.make(build_config("dekr", settings)).stages["scorer"].learns_from
    view = View(jnp.zeros((1, 64, 64, 3), jnp.uint8))
    with pytest.raises(ValueError, match="outputs"):
        finder.predict({}, view)
    (config,) = used
    assert config.decoder == "official"
    assert not config.scorer
