import numpy as np
import pytest

from logocap_jax.geometry import CellRule
from logocap_jax.media.views import draw_views, patches_of
from logocap_jax.methods.base import MapLayer, PatchLayer
from logocap_jax.predictor import Poses, Predictor
from logocap_jax.predictor.predictor import Explained
from logocap_jax.skeletons import COCO

NAME = "000000397133"


@pytest.fixture(scope="module")
def case(parity_dir):
    with np.load(parity_dir / "tiny" / f"infer_{NAME}.npz") as arrays:
        names = ("image", "final_keypoints", "final_scores", "affine")
        return {name: arrays[name] for name in names}


@pytest.fixture(scope="module")
def image(case):
    return case["image"]


@pytest.fixture(scope="module")
def predictor(parity_dir):
    weights = parity_dir / "tiny" / "weights.npz"
    return Predictor.from_weights(weights, short_side=256)


@pytest.fixture(scope="module")
def explained(predictor, image):
    return predictor.explain(image)


@pytest.mark.parity
def test_poses_are_those_of_the_reference(case, explained):
    expected = case["final_keypoints"][..., :2]
    np.testing.assert_allclose(explained.poses.scores, case["final_scores"], rtol=1e-4)
    errors = np.abs(explained.poses.keypoints - expected) * case["affine"][0, 0]
    assert np.mean(errors > 0.01) <= 0.005
    assert len(explained.layers["kam"].values) == len(expected)


@pytest.mark.parity
def test_kinds_of_layers_are_known_before_the_first_image(predictor, explained):
    kinds = {"heatmaps": MapLayer, "centers": MapLayer, "kam": PatchLayer}
    assert predictor.layers == kinds
    assert {name: type(x) for name, x in explained.layers.items()} == kinds
    assert predictor.refines


@pytest.mark.parity
def test_heatmaps_lie_where_the_keypoints_are(explained, image):
    # At a refined keypoint of the best pose its heatmap fires.
    layer, transform = explained.layers["heatmaps"], explained.input_to_image
    assert layer.cells == CellRule(4, 1.5)
    best = int(np.argmax(explained.poses.scores))
    inverse = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))
    height, width, _ = layer.values.shape
    values = []
    for keypoint, point in enumerate(explained.poses.keypoints[best]):
        x, y = np.rint((inverse[:2] @ [*point, 1] - 1.5) / 4).astype(int)
        if 0 <= x < width and 0 <= y < height:
            channel = layer.values[..., keypoint]
            values.append(channel[y, x] - np.median(channel))
    assert len(values) > 8
    assert np.mean(np.array(values) > 0) > 0.8
    # All of the image is covered, and little more.
    corner = transform @ [4 * width - 2.5, 4 * height - 2.5, 1]
    assert np.all(np.abs(corner - image.shape[1::-1]) < 0.2 * max(image.shape))


@pytest.mark.parity
def test_views_are_pictures_of_poses_and_layers(explained, image):
    views = ("refined", "initial", *explained.layers)
    drawn = dict(draw_views(views, image, explained.poses, explained))
    assert sorted(drawn) == ["", "centers", "heatmaps", "kam"]
    alone = dict(draw_views(["initial"], image, explained.poses, explained))
    assert list(alone) == [""]
    assert (alone[""] != drawn[""]).any()
    patches = explained.layers["kam"]
    nobody = explained._replace(
        poses=explained.poses.above(np.inf),
        layers={"kam": PatchLayer(patches.values[:0], patches.radius)},
    )
    for film in (False, True):
        empty = dict(draw_views(["kam"], image, nobody.poses, nobody, film=film))
        full = dict(draw_views(["kam"], image, explained.poses, explained, film=film))
        assert (empty["kam"].shape == full["kam"].shape) == film


@pytest.mark.parity
def test_weights_of_the_baseline_have_all_other_pictures(
    center_offset_weights, explained, image
):
    predictor = Predictor.from_weights(center_offset_weights, short_side=256)
    baseline = predictor.explain(image)
    assert sorted(baseline.layers) == ["centers", "heatmaps"]
    values = (x.layers["heatmaps"].values for x in (baseline, explained))
    np.testing.assert_allclose(*values, atol=1e-4)
    views = ("refined", "initial", *baseline.layers)
    drawn = dict(draw_views(views, image, baseline.poses, baseline))
    assert sorted(drawn) == ["", "centers", "heatmaps"]


def test_an_export_explains_nothing():
    from logocap_jax.predictor.compiled import Model
    from logocap_jax.predictor.inputs import by_short_side

    predictor = Predictor(Model(lambda view: None, COCO), by_short_side(64))
    with pytest.raises(ValueError, match="got an export, expected weights"):
        predictor.explain(np.zeros((9, 9, 3), np.uint8))


def explained_with(cells, initial=None):
    """One pose, and a heatmap that fires in one cell only."""
    keypoints = np.random.default_rng(0).uniform(100, 300, (1, 17, 2))
    keypoints = keypoints.astype(np.float32)
    ones = np.ones((1, 17), np.float32)
    poses = Poses(keypoints, ones, ones[:, 0], initial, COCO)
    maps = np.zeros((100, 150, 1), np.float32)
    maps[50, 70] = 1
    layers = {
        "peak": MapLayer(maps, ("peak",), cells),
        "around": PatchLayer(np.zeros((1, 3, 3, 17), np.float32), (6.0,) * 17),
    }
    return Explained(poses, layers, np.array([[2.0, 0, 1], [0, 2.0, 1]]))


@pytest.mark.parametrize("middle", [0.0, 1.5])
def test_a_layer_is_drawn_where_its_own_cells_lie(middle):
    image = np.zeros((800, 1200, 3), np.uint8)
    explained = explained_with(CellRule(4, middle))
    ((_, drawn),) = draw_views(["peak"], image, explained.poses, explained)
    rows, columns = np.nonzero(drawn[:800].max(axis=2) > 60)
    # To 0.5 px of the image: a cell is 8 px of it wide.
    assert rows.mean() == pytest.approx(2 * (4 * 50 + middle) + 1, abs=0.5)
    assert columns.mean() == pytest.approx(2 * (4 * 70 + middle) + 1, abs=0.5)


def test_without_initial_keypoints_nothing_thin_is_drawn():
    image = np.zeros((400, 400, 3), np.uint8)
    explained = explained_with(CellRule())
    poses = explained.poses
    plain = poses.draw(image)
    np.testing.assert_array_equal(poses.draw(image, initial=True), plain)
    for views in (["refined", "initial"], ["initial"]):
        ((_, drawn),) = draw_views(views, image, poses)
        np.testing.assert_array_equal(drawn, plain)
    assert len(poses.above(2.0)) == 0
    patches = patches_of(explained, "around", 0)
    np.testing.assert_array_equal(patches.initial, poses.keypoints[0])
    np.testing.assert_allclose(patches.radius, 12)
