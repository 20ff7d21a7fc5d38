import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax import losses
from logocap_jax.codecs import proposals
from logocap_jax.ops.proposals import quality, weigh


@pytest.fixture(scope="module")
def head(shared_dir):
    with np.load(shared_dir / "siblings/sar/parity/head_plain.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def maps(head):
    """Logits, offsets and heatmap logits, from the head's own weights."""

    def branch(name):
        kernel = head[f"weights/{name}.weight"][:, :, 0, 0]
        out = np.einsum("bchw,kc->bhwk", head["features"].astype(np.float64), kernel)
        return (out + head[f"weights/{name}.bias"]).astype(np.float32)

    offsets = branch("offset_conv").reshape(3, 32, 24, 17, 2)
    return branch("logit_conv"), offsets, branch("heatmap_conv")


def last(array):
    return np.moveaxis(array, 1, -1)


def test_outputs_are_those_of_the_reference(head, maps):
    logits, offsets, heat = (jnp.asarray(x) for x in maps)
    found = jax.vmap(proposals.propose)(offsets)
    expected = head["proposal"].transpose(0, 3, 4, 1, 2)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(jax.nn.sigmoid(logits), last(head["confidence"]), 1e-5)
    np.testing.assert_allclose(heat, last(head["heatmap_logit"]), atol=1e-5)


def test_decoding_is_that_of_the_reference(head, maps):
    logits, offsets, _ = (jnp.asarray(x) for x in maps)
    points, scores = jax.vmap(proposals.decode)(
        logits, jax.vmap(proposals.propose)(offsets)
    )
    expected = head["decode_keypoints"] / [96, 128]
    np.testing.assert_allclose(points, expected, atol=1e-5)
    np.testing.assert_allclose(scores, head["decode_scores"], 1e-5)


def sar_loss(logits, points, labels, weights):
    """Loss over whole maps, and each proposal's gradient."""

    def one(logits, points, labels):
        error = jnp.abs(points - labels[None, None]).sum(-1)
        values = quality(error).reshape(-1, 17)
        return losses.expected_quality(logits.reshape(-1, 17), values)

    terms = jax.vmap(one)(logits, points, labels)
    return jnp.sum(terms * weights) / jnp.sum(weights)


def test_loss_and_gradients_are_those_of_the_reference(head):
    confidence = last(head["confidence"]).astype(np.float64)
    logits = jnp.asarray(np.log(confidence / (1 - confidence)), jnp.float32)
    points = jnp.asarray(head["proposal"].transpose(0, 3, 4, 1, 2))
    size = jnp.array([24, 32.0])
    cells = jnp.asarray(head["keypoints_input_px"]) / 4
    near = proposals.is_near(cells, height=32, width=24)
    weights = near & (head["visible"] > 0)
    np.testing.assert_array_equal(weights, head["keypoint_weights"])
    run = jax.value_and_grad(sar_loss, (0, 1))
    loss, (to_logits, to_points) = run(logits, points, cells / size, weights)
    np.testing.assert_allclose(loss, head["loss_sar"], 1e-5)
    expected = head["grad/proposal"].transpose(0, 3, 4, 1, 2)
    np.testing.assert_allclose(to_points, expected, atol=1e-5 * np.abs(expected).max())
    expected = last(head["grad/confidence"]) * confidence * (1 - confidence)
    np.testing.assert_allclose(to_logits, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("point", [(5.0, 7.0), (-0.6, 31.4), (-9.6, 3.0), (-10.4, 3.0)])
def test_heatmap_is_the_gaussian_of_a_loop(point):
    expected = np.zeros((32, 24))
    x, y = (int(v + 0.5) for v in point)  # towards 0
    for row in range(max(y - 9, 0), min(y + 10, 32)):
        for column in range(max(x - 9, 0), min(x + 10, 24)):
            expected[row, column] = np.exp(-((row - y) ** 2 + (column - x) ** 2) / 18)
    found = proposals.encode_heatmap(jnp.array(point), height=32, width=24)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_heatmap_loss_is_that_of_the_reference(head, maps):
    cells = jnp.asarray(head["keypoints_input_px"]) / 4
    encode = jax.vmap(
        lambda p: proposals.encode_heatmap(p, height=32, width=24), out_axes=-1
    )
    target = jax.vmap(encode)(cells) * head["keypoint_weights"][:, None, None]
    np.testing.assert_allclose(target, last(head["heatmap_target"]), atol=1e-6)
    terms = losses.quality_focal(jnp.asarray(maps[2]), target)
    total = jnp.sum(terms * head["keypoint_weights"][:, None, None])
    np.testing.assert_allclose(total, head["heatmap_loss_sum"], 1e-5)
    assert jnp.sum(target > 0.7) == head["heatmap_loss_count"]


@pytest.mark.parametrize(
    ("point", "near"),
    [
        ((0.0, 0.0), True),
        ((-10.4, 3.0), True),  # its square ends one cell before the map
        ((-11.5, 3.0), False),
        ((32.4, 3.0), True),
        ((32.5, 3.0), False),  # cell 33, whose square begins behind the last, 23
        ((3.0, 41.0), False),
    ],
)
def test_the_square_of_a_keypoint_touches_the_map(point, near):
    assert proposals.is_near(jnp.array(point), height=32, width=24) == near


def test_codec_is_that_of_the_reference(shared_dir):
    with np.load(shared_dir / "siblings/sar/parity/codec.npz") as file:
        case = dict(file)
    cells = jnp.asarray(case["keypoints_input_px"]) / 4
    near = proposals.is_near(cells, height=96, width=72) & (case["visible"] > 0)
    np.testing.assert_array_equal(near, case["keypoint_weights"][0])
    found = jax.vmap(lambda p: proposals.encode_heatmap(p, height=96, width=72))(cells)
    np.testing.assert_allclose(found * near[:, None, None], case["heatmaps"], atol=1e-6)
    np.testing.assert_allclose(cells[near], case["keypoint_labels"][0][near])


def test_weights_are_shares_of_the_sigmoid():
    logits = jnp.array([0.0, 2.0, -3.0])
    sigmoid = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    np.testing.assert_allclose(weigh(logits), sigmoid / sigmoid.sum(), 1e-6)
    mask = jnp.array([True, False, True])
    np.testing.assert_allclose(
        weigh(logits, mask), sigmoid * mask / sigmoid[[0, 2]].sum(), 1e-6
    )


def test_very_low_confidence_has_weights_all_the_same():
    np.testing.assert_allclose(weigh(jnp.full(4, -500.0)), 0.25)
    found = weigh(jnp.full(4, -500.0), jnp.array([True, True, False, False]))
    np.testing.assert_allclose(found, [0.5, 0.5, 0, 0])


def test_an_empty_mask_has_no_weight_and_no_gradient():
    def loss(logits):
        return losses.expected_quality(logits, jnp.ones(3), jnp.zeros(3, bool))

    value, gradient = jax.value_and_grad(loss)(jnp.array([1.0, -jnp.inf, 3.0]))
    np.testing.assert_allclose(value, -np.log(1e-6), 1e-6)
    np.testing.assert_array_equal(gradient, 0)


def test_factors_of_the_focal_loss_have_a_gradient():
    def oracle(z, t):
        p = 1 / (1 + np.exp(-z))
        return -(t * np.log(p) + (1 - t) * np.log(1 - p)) * abs(t - p) ** 2

    for target in (0.0, 0.3, 1.0):
        slope = (oracle(0.7 + 1e-5, target) - oracle(0.7 - 1e-5, target)) / 2e-5
        run = jax.value_and_grad(losses.quality_focal)
        value, gradient = run(jnp.array(0.7), jnp.array(target))
        np.testing.assert_allclose(
            (value, gradient), (oracle(0.7, target), slope), 1e-4
        )


def test_of_saturated_cells_the_first_counts():
    logits = jnp.array([[[-1.0], [30.0]], [[90.0], [40.0]]])
    points = jnp.arange(8.0).reshape(2, 2, 1, 2)
    found, score = proposals.decode(logits, points)
    np.testing.assert_array_equal(found, [[2, 3]])
    np.testing.assert_allclose(score, 1 / (3 + 1 / (1 + np.e)), 1e-6)


def test_the_mirror_image_is_mirrored_back(head, maps):
    def find(features):
        def branch(name):
            kernel = head[f"weights/{name}.weight"][:, :, 0, 0]
            maps = np.einsum("bchw,kc->bhwk", features.astype(np.float64), kernel)
            return jnp.asarray(maps + head[f"weights/{name}.bias"], jnp.float32)

        offsets = branch("offset_conv").reshape(3, 32, 24, 17, 2)
        points = jax.vmap(proposals.propose)(offsets)
        return jax.vmap(proposals.decode)(branch("logit_conv"), points)

    index = tuple(head["flip_indices"].tolist())

    def average(*arrays):
        return proposals.average_mirrored(*arrays, flip_index=index, shift=1 / 96)

    points, scores = jax.vmap(average)(
        *find(head["features"]), *find(head["features_flip"])
    )
    expected = head["flip_keypoints"]
    np.testing.assert_allclose(points * jnp.array([96, 128]), expected, atol=1e-3)
    np.testing.assert_allclose(scores, head["flip_scores"], 1e-5)
