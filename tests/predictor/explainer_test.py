import numpy as np
import pytest

from logocap_jax import cli
from logocap_jax.media.views import VIEWS, draw_views
from logocap_jax.predictor.explainer import Explainer
from logocap_jax.visualization.overlay import write_image

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
def explainer(parity_dir):
    weights = parity_dir / "tiny" / "weights.npz"
    return Explainer.from_weights(weights, short_side=256)


@pytest.fixture(scope="module")
def explained(explainer, image):
    return explainer(image)


@pytest.mark.parity
def test_poses_are_those_of_the_reference(case, explained):
    expected = case["final_keypoints"][..., :2]
    np.testing.assert_allclose(explained.poses.scores, case["final_scores"], rtol=1e-4)
    errors = np.abs(explained.poses.keypoints - expected) * case["affine"][0, 0]
    assert np.mean(errors > 0.01) <= 0.005
    assert len(explained.kam) == len(expected)


@pytest.mark.parity
def test_heatmaps_lie_where_the_keypoints_are(explained, image):
    # At a refined keypoint of the best pose its heatmap fires.
    best = int(np.argmax(explained.poses.scores))
    inverse = np.linalg.inv(np.vstack([explained.cell_to_image, [0, 0, 1]]))
    height, width, _ = explained.heatmaps.shape
    values = []
    for keypoint, point in enumerate(explained.poses.keypoints[best]):
        x, y = np.rint(inverse[:2] @ [*point, 1]).astype(int)
        if 0 <= x < width and 0 <= y < height:
            own = explained.heatmaps[..., keypoint]
            values.append(own[y, x] - np.median(own))
    assert len(values) > 8
    assert np.mean(np.array(values) > 0) > 0.8
    # All of the image is covered, and little more.
    corner = explained.cell_to_image @ [width - 1, height - 1, 1]
    assert np.all(np.abs(corner - image.shape[1::-1]) < 0.2 * max(image.shape))


@pytest.mark.parity
def test_views_are_pictures_of_what_was_found(explained, image):
    drawn = dict(draw_views(VIEWS, image, explained.poses, explained))
    assert sorted(drawn) == ["", "heatmaps", "kam"]
    alone = dict(draw_views(["initial"], image, explained.poses, explained))
    assert list(alone) == [""]
    assert (alone[""] != drawn[""]).any()
    nobody = explained._replace(
        poses=explained.poses.above(np.inf), kam=explained.kam[:0]
    )
    for film in (False, True):
        empty = dict(draw_views(VIEWS, image, nobody.poses, nobody, film=film))
        full = dict(draw_views(VIEWS, image, explained.poses, explained, film=film))
        assert (empty["kam"].shape == full["kam"].shape) == film


@pytest.mark.parity
def test_weights_without_attraction_maps_have_all_other_pictures(
    center_offset_weights, explained, image
):
    explainer = Explainer.from_weights(center_offset_weights, short_side=256)
    found = explainer(image)
    assert not explainer.has_kam
    assert found.kam is None
    np.testing.assert_array_equal(found.poses.keypoints, found.poses.initial_keypoints)
    np.testing.assert_allclose(found.heatmaps, explained.heatmaps, atol=1e-4)
    drawn = dict(draw_views(VIEWS, image, found.poses, found))
    assert sorted(drawn) == ["", "heatmaps"]


@pytest.mark.parity
def test_attraction_maps_that_are_not_there_cannot_be_drawn(
    center_offset_weights, image, tmp_path, capsys
):
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    write_image(photo, image)
    arguments = [
        photo,
        "--weights",
        center_offset_weights,
        "--out",
        out,
        "--draw",
        "kam",
    ]
    assert cli.main(["predict", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"error: --draw kam: {center_offset_weights} has no attraction maps"
    )
    assert not out.exists()
