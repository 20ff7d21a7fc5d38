"""Labels of poses, against what pycocotools' evaluation holds inside."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO as Annotations
from pycocotools.cocoeval import COCOeval

from logocap_jax import skeletons
from logocap_jax.evaluation.coco import load_ground_truth
from logocap_jax.evaluation.labelled_poses import label_poses
from logocap_jax.evaluation.results import ImagePoses, to_coco

K = 17


def person(rng, image, *, side, labelled=True, crowd=0):
    corner = rng.uniform(0, 100, 2)
    points = corner + rng.uniform(0, side, (K, 2))
    seen = rng.integers(0, 3, K) if labelled else np.zeros(K, int)
    triplets = np.column_stack([points.round(2), seen])
    triplets[seen == 0] = 0
    return {
        "image_id": image,
        "category_id": 1,
        "keypoints": triplets.ravel().tolist(),
        "num_keypoints": int((seen > 0).sum()),
        "bbox": [*corner.tolist(), float(side), float(side)],
        "area": 0.6 * side**2,
        "iscrowd": crowd,
    }


def poses(rng, image, people, count):
    """Some near the people, some anywhere, in no order."""
    keypoints = rng.uniform(0, 300, (count, K, 2))
    for i, one in enumerate(people):
        points = np.reshape(one["keypoints"], (K, 3))
        keypoints[3 * i] = points[:, :2] + rng.normal(0, 3, (K, 2))
    scores = rng.permutation(count).astype(np.float32) / count
    scores[1::7] = scores[:1]  # ties
    return ImagePoses(
        image,
        keypoints.astype(np.float32),
        rng.random((count, K), np.float32),
        scores,
    )


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    people = [
        *(person(rng, 1, side=side) for side in (20, 60, 80, 200, 300)),
        person(rng, 1, side=250, crowd=1),
        person(rng, 1, side=90, labelled=False),
        person(rng, 2, side=150, labelled=False),
        person(rng, 2, side=120, crowd=1),
        person(rng, 4, side=100),
        person(rng, 5, side=10),
    ]
    truth = {
        "images": [{"id": image, "width": 400, "height": 400} for image in range(1, 6)],
        "categories": [
            {"id": 1, "name": "person", "keypoints": [*skeletons.COCO.keypoints]}
        ],
        "annotations": [{"id": i + 1, **one} for i, one in enumerate(people)],
    }
    found = [
        poses(rng, 1, people[:5], 40),  # more than are looked at
        poses(rng, 2, [], 8),
        poses(rng, 3, [], 4),
        poses(rng, 4, [], 0),
        poses(rng, 5, people[-1:], 5),
    ]
    # All keypoints in the box of the person without any.
    found[1].keypoints[0] = people[7]["bbox"][0] + 10, people[7]["bbox"][1] + 10
    return truth, found


def oracle(truth, found):
    """Image, pose by score, and label in each range, out of COCO's own evaluation."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = Annotations()
        annotations.dataset = truth
        annotations.createIndex()
        results = to_coco(found)
        scoring = COCOeval(annotations, annotations.loadRes(results), "keypoints")
        scoring.params.kpt_oks_sigmas = np.array(skeletons.COCO.sigmas)
        scoring.evaluate()
    rows = {}
    ranges = [tuple(limits) for limits in scoring.params.areaRng]
    for result in scoring.evalImgs:
        if result is None or not result["gtIds"]:
            continue
        image = result["image_id"]
        oks = scoring.ious[image, 1]
        people = scoring._gts[image, 1]
        ignored = dict(zip(result["gtIds"], result["gtIgnore"], strict=True))
        for row, number in enumerate(result["dtIds"]):
            counts = [oks[row][i] for i, p in enumerate(people) if not ignored[p["id"]]]
            label = max(counts or oks[row])
            position = ranges.index(tuple(result["aRng"]))
            rows.setdefault((image, number), [None] * 3)[position] = label
    points = {i + 1: result["keypoints"] for i, result in enumerate(results)}
    return [(image, points[number], label) for (image, number), label in rows.items()]


def test_rows_are_those_inside_cocos_evaluation(world):
    truth, found = world
    rows = label_poses(truth, found, skeletons.COCO.sigmas)
    expected = oracle(truth, found)
    assert len(rows.oks) == len(expected) == 20 + 8 + 5  # 40: the best 20; nobody: none
    triplets = np.array([points for _, points, _ in expected]).reshape(-1, K, 3)
    np.testing.assert_array_equal(rows.keypoints, triplets[..., :2])
    np.testing.assert_array_equal(rows.keypoint_scores, triplets[..., 2])
    np.testing.assert_array_equal(rows.oks, [label for _, _, label in expected])


def test_people_who_do_not_count_are_taken_only_where_nobody_does(world):
    truth, found = world
    rows = label_poses(truth, found[1:2], skeletons.COCO.sigmas)
    inside = np.flatnonzero(np.ptp(rows.keypoints, axis=(1, 2)) < 100)
    assert np.all(rows.oks[inside] == 1)  # inside the box of a person without keypoints
    counted = {**truth, "annotations": [*truth["annotations"]]}
    extra = person(np.random.default_rng(5), 2, side=200)
    counted["annotations"].append({"id": 99, **extra})
    rows = label_poses(counted, found[1:2], skeletons.COCO.sigmas)
    assert np.all(rows.oks[:, [0, 2]] < 1)  # the new one counts: all sizes, and large
    assert np.all(rows.oks[inside, 1] == 1)


def test_without_poses_there_are_no_rows(world):
    truth, found = world
    rows = label_poses(truth, found[2:4], skeletons.COCO.sigmas)
    assert rows.keypoints.shape == (0, K, 2)
    assert rows.oks.shape == (0, 3)


def test_areas_of_crowdpose_are_a_share_of_the_box():
    rng = np.random.default_rng(3)
    count = skeletons.CROWDPOSE.num_keypoints
    points = rng.uniform(0, 90, (count, 2))
    triplets = np.column_stack([points, np.full(count, 2)])
    truth = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "categories": [
            {"id": 1, "name": "p", "keypoints": [*skeletons.CROWDPOSE.keypoints]}
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "keypoints": triplets.ravel().tolist(),
                "num_keypoints": count,
                "bbox": [0.0, 0.0, 90.0, 80.0],
                "iscrowd": 0,
            }
        ],
    }
    truth = load_ground_truth(truth, skeleton=skeletons.CROWDPOSE)
    moved = (points + 4).astype(np.float32)[None]
    found = ImagePoses(1, moved, np.ones((1, count), np.float32), np.ones(1))
    rows = label_poses(truth, [found], skeletons.CROWDPOSE.sigmas)
    variance = (2 * np.array(skeletons.CROWDPOSE.sigmas)) ** 2
    expected = np.mean(np.exp(-32 / (2 * 0.53 * 90 * 80 * variance)))
    np.testing.assert_allclose(rows.oks, expected, rtol=1e-4)
