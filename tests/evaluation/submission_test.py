import json
import zipfile

import numpy as np
import pytest

from logocap_jax.evaluation.results import ImagePoses, write_submission


def _poses(image_id=7, count=2):
    rng = np.random.default_rng(image_id)
    return ImagePoses(
        image_id,
        rng.uniform(0, 500, (count, 17, 2)).astype(np.float32),
        rng.uniform(0, 1, (count, 17)).astype(np.float32),
        rng.uniform(0, 1, count).astype(np.float32),
    )


def _read(path):
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        return name, json.loads(archive.read(name))


def test_file_is_named_as_the_server_wants_it_outside_and_inside(tmp_path):
    path = write_submission(tmp_path, [_poses()], algorithm="logocap-w32")
    stem = "person_keypoints_test-dev2017_logocap-w32_results"
    assert path == tmp_path / f"{stem}.zip"
    assert _read(path)[0] == f"{stem}.json"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_what_coco_asks_for(tmp_path):
    poses = _poses()
    path = write_submission(tmp_path, [poses, _poses(9, count=0)], algorithm="a")
    _, results = _read(path)
    assert len(results) == 2
    for index, result in enumerate(results):
        assert result.keys() == {"image_id", "category_id", "keypoints", "score"}
        assert result["image_id"] == 7
        assert result["category_id"] == 1
        triplets = np.reshape(result["keypoints"], (17, 3))
        np.testing.assert_allclose(triplets[:, :2], poses.keypoints[index], atol=0.0051)
        np.testing.assert_allclose(triplets[:, 2], poses.keypoint_scores[index], 1e-4)
        assert result["score"] == pytest.approx(float(poses.scores[index]), abs=1e-6)


def test_same_poses_make_the_same_file(tmp_path):
    one, two = (
        write_submission(tmp_path / name, [_poses()], algorithm="a").read_bytes()
        for name in map(_made(tmp_path), ("one", "two"))
    )
    assert one == two


def _made(folder):
    def make(name):
        (folder / name).mkdir()
        return name

    return make


@pytest.mark.parametrize("name", ["", "../a", "a/b", "a b", "a_b", ".a", "ä", "a\n"])
def test_names_that_cannot_be_part_of_a_files_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="got algorithm name") as caught:
        write_submission(tmp_path, [_poses()], algorithm=name)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_nan_is_refused_and_nothing_is_written(tmp_path):
    poses = _poses()
    poses.keypoints[1, 3, 0] = np.nan
    with pytest.raises(ValueError, match="image 7, pose 1: got a NaN"):
        write_submission(tmp_path, [poses], algorithm="a")
    assert not list(tmp_path.iterdir())
