import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from logocap_jax.evaluation.runner import make_evaluator, run_evaluation
from logocap_jax.methods.base import Method
from logocap_jax.structures import Poses

SLOTS = 3


def evaluate(variables, batch):
    """Finds as many poses as the first pixel says; keypoint k lies at (k, area)."""
    count = batch.image.shape[0]
    slots = jnp.arange(SLOTS)
    x = jnp.broadcast_to(jnp.arange(17.0), (count, SLOTS, 17))
    y = jnp.broadcast_to(batch.area[:, :1, None], (count, SLOTS, 17))
    poses = Poses(
        keypoints=jnp.stack([x, y], axis=-1),
        keypoint_scores=x / 17,
        scores=slots + variables["params"]["w"] + batch.area[:, :1],
        valid=slots < batch.image[:, :1, 0, 0],
    )
    return {"toy": poses, "bound": poses}


METHOD = Method(None, None, None, None, evaluate, None, answer="toy")
VARIABLES = {"params": {"w": jnp.asarray(0.5)}, "batch_stats": {}}


def make_batch(image_ids, *, valid):
    """Image `i` holds `i % 4` poses, at height `i`; twice as large and moved by 10."""
    ids = np.asarray(image_ids)
    count = len(ids)
    image = np.broadcast_to(
        (ids % 4).astype(np.uint8)[:, None, None, None], (count, 4, 4, 3)
    )
    return {
        "image": np.ascontiguousarray(image),
        "masks": {4: np.ones((count, 1, 1), np.uint8)},
        "keypoints": np.zeros((count, 1, 17, 2), np.float32),
        "labelled": np.zeros((count, 1, 17), bool),
        "area": ids.astype(np.float32)[:, None],
        "size": np.ones((count, 1, 2), np.float32),
        "person": np.zeros((count, 1), bool),
        "has_center": np.zeros((count, 1), bool),
        "mirrored": np.zeros(count, bool),
        "box": np.zeros((count, 1, 4), np.float32),
        "content": np.zeros((count, 4), np.float32),
        "image_id": ids,
        "input_to_image": np.tile(np.array([[2.0, 0, 10], [0, 2, 10]]), (count, 1, 1)),
        "scaled": (),
        "valid": np.asarray(valid),
    }


def run(batches, *, devices=1, **options):
    mesh = Mesh(np.asarray(jax.devices()[:devices]), ("data",))
    return run_evaluation(
        make_evaluator(METHOD, mesh), VARIABLES, batches, mesh, **options
    )


def test_images_come_by_id_without_padding():
    batches = [
        make_batch([9, 5], valid=[True, True]),
        make_batch([2, 2], valid=[True, False]),
    ]
    sets = run(batches)
    assert sets.keys() == {"toy", "bound"}
    for images in sets.values():
        assert [image.image_id for image in images] == [2, 5, 9]
        assert [len(image.scores) for image in images] == [2, 1, 1]


def test_an_image_without_poses_is_kept():
    (image,) = run([make_batch([4], valid=[True])])["toy"]
    assert image.image_id == 4
    assert image.keypoints.shape == (0, 17, 2)


def test_poses_are_those_of_their_image_in_image_pixels():
    batches = [make_batch([5, 7], valid=[True, True])]
    for image in run(batches)["toy"]:
        expected = np.stack(
            [2.0 * np.arange(17) + 10, np.full(17, 2.0 * image.image_id + 10)], axis=-1
        )
        for number, pose in enumerate(image.keypoints):
            np.testing.assert_allclose(pose, expected)
            assert image.scores[number] == number + 0.5 + image.image_id
        np.testing.assert_allclose(image.keypoint_scores[0], np.arange(17) / 17)


def test_devices_share_a_batch_without_changing_the_answer():
    batches = [
        make_batch(range(1, 9), valid=[True] * 8),
        make_batch([11, 10, 9, 9, 9, 9, 9, 9], valid=[True] * 3 + [False] * 5),
    ]
    alone, shared = run(batches), run(batches, devices=8)
    assert [image.image_id for image in shared["toy"]] == list(range(1, 12))
    for one, other in zip(alone["toy"], shared["toy"], strict=True):
        assert one.image_id == other.image_id
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_progress_counts_images_and_not_padding():
    batches = [
        make_batch([1, 2], valid=[True, True]),
        make_batch([3, 3], valid=[True, False]),
    ]
    seen = []
    run(batches, progress=seen.append)
    assert seen == [2, 1]


def test_no_batches_give_no_results():
    assert run([]) == {}


@pytest.mark.parametrize("missing", ["image", "valid", "image_id"])
def test_a_batch_that_lacks_an_array_names_it(missing):
    batch = make_batch([1], valid=[True])
    del batch[missing]
    with pytest.raises(KeyError, match=missing):
        run([batch])
