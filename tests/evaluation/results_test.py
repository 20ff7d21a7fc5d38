import numpy as np
import pytest

from logocap_jax.evaluation.results import (
    ImagePoses,
    read_json,
    to_coco,
    write_json,
    write_results,
)


def _poses(image_id=5, keypoints=((1, 2), (4, 8)), scores=(0.5,)):
    count = len(scores)
    return ImagePoses(
        image_id=image_id,
        keypoints=np.tile(np.asarray(keypoints, np.float32), (count, 1, 1)),
        keypoint_scores=np.tile(np.float32([0.25, 0.75]), (count, 1)),
        scores=np.asarray(scores, np.float32),
    )


def test_a_pose_becomes_triplets_score_and_keypoint_box():
    assert to_coco([_poses()]) == [
        {
            "image_id": 5,
            "category_id": 1,
            "keypoints": [1, 2, 0.25, 4, 8, 0.75],
            "score": 0.5,
            "bbox": [1, 2, 3, 6],
        }
    ]


def test_images_and_poses_keep_their_order():
    results = to_coco([_poses(9, scores=(0.25, 0.5)), _poses(3, scores=())] * 2)
    assert [result["image_id"] for result in results] == [9] * 4
    assert [result["score"] for result in results] == [0.25, 0.5, 0.25, 0.5]


def test_written_results_read_back_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    poses = ImagePoses(
        image_id=2,
        keypoints=rng.normal(size=(4, 17, 2), scale=300).astype(np.float32),
        keypoint_scores=rng.uniform(size=(4, 17)).astype(np.float32),
        scores=rng.uniform(size=4).astype(np.float32),
    )
    write_results(tmp_path / "results.json", [poses])
    results = read_json(tmp_path / "results.json")
    triplets = np.asarray([r["keypoints"] for r in results], np.float32)
    triplets = triplets.reshape(4, 17, 3)
    np.testing.assert_array_equal(triplets[..., :2], poses.keypoints)
    np.testing.assert_array_equal(triplets[..., 2], poses.keypoint_scores)
    np.testing.assert_array_equal(
        np.float32([r["score"] for r in results]), poses.scores
    )


@pytest.mark.row("results")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["keypoints", "keypoint_scores", "scores"])
def test_non_finite_pose_is_named_and_the_old_file_stays(tmp_path, field, bad):
    path = tmp_path / "results.json"
    path.write_text("[]")
    poses = _poses(image_id=42, scores=(0.5, 0.5))
    getattr(poses, field)[1] = bad
    with pytest.raises(ValueError, match="image 42, pose 1"):
        write_results(path, [_poses(), poses])
    assert path.read_text() == "[]"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.row("results")
def test_json_with_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"AP": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.row("results")
def test_failed_replace_leaves_no_temporary_file(tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(OSError, match=r"x\.json"):
        write_json(tmp_path / "x.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.row("results")
@pytest.mark.parametrize(
    "content",
    [b"", b'[{"image_id": 1', b"<html>", b"\xff\xfe", b"[" * 200_000, b"9" * 5000],
    ids=["empty", "cut", "html", "not-utf8", "deep", "long-integer"],
)
def test_damaged_json_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"results\.json: expected a JSON file") as got:
        read_json(path)
    assert "\n" not in str(got.value)


@pytest.mark.row("results")
def test_number_too_large_for_a_float_reads_as_infinity(tmp_path):
    (tmp_path / "x.json").write_text("1e999")
    assert read_json(tmp_path / "x.json") == float("inf")
