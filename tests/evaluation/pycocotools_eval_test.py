import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from logocap_jax.evaluation.matching import ArrayEval
from logocap_jax.skeletons import COCO as SKELETON
from logocap_jax.skeletons import CROWDPOSE


def _record(record_id, points, flags, **fields):
    triplets = np.column_stack([points, flags]).ravel().tolist()
    numbers = {"id": record_id, "image_id": 1, "category_id": 1}
    return numbers | {"keypoints": triplets} | fields


def _indexed(records):
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 1, "keypoints": ["nose"]}],
        "annotations": records,
    }
    coco.createIndex()
    return coco


@pytest.mark.parametrize("sigmas", [SKELETON.sigmas, CROWDPOSE.sigmas])
@pytest.mark.parametrize("num_poses", [1, 7, 20, 33])
def test_similarities_are_those_of_pycocotools_to_the_last_bit(sigmas, num_poses):
    rng = np.random.default_rng(num_poses)
    kinds = len(sigmas)
    people = [
        _record(
            *(index + 1, rng.uniform(0, 300, (kinds, 2)).round(3), flags),
            area=float(rng.uniform(100, 90_000)),
            bbox=rng.uniform(10, 200, 4).tolist(),
            num_keypoints=int((flags > 0).sum()),
            iscrowd=0,
        )
        # From nothing labelled to everything.
        for index, share in enumerate(np.linspace(0, 1, 9))
        for flags in [2 * (rng.uniform(0, 1, kinds) < share)]
    ]
    near = np.array(people[-1]["keypoints"]).reshape(kinds, 3)[:, :2]
    poses = [
        _record(
            *(index + 1, near + rng.normal(0, 30, near.shape), np.ones(kinds)),
            # Of equal scores the first comes first.
            score=float(rng.integers(5)),
            area=1.0,
        )
        for index in range(num_poses)
    ]
    found = {}
    for kind in (COCOeval, ArrayEval):
        scoring = kind(_indexed(people), _indexed(poses), "keypoints")
        scoring.params.kpt_oks_sigmas = np.array(sigmas)
        scoring.evaluate()
        assert len(scoring.ious[2, 1]) == 0
        found[kind] = scoring.ious[1, 1]
    assert found[COCOeval].shape == (min(num_poses, 20), 9)
    np.testing.assert_array_equal(found[ArrayEval], found[COCOeval])
    assert found[COCOeval].max() > 0.1
