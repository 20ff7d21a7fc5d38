"""Each operation against JAX itself, run by onnxruntime."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

onnxruntime = pytest.importorskip(
    "onnxruntime", reason="onnxruntime is not installed: pip install '.[onnx]'"
)
from logocap_jax.export.to_onnx import to_onnx  # noqa: E402

RNG = np.random.default_rng(0)
# Whole numbers, so that some are equal, and sums exact.
IMAGE = RNG.integers(-9, 10, (2, 6, 4, 3)).astype(np.float32)
KERNEL = RNG.integers(-3, 4, (3, 3, 3, 6)).astype(np.float32)
WIDE = RNG.integers(-3, 4, (4, 4, 3, 2)).astype(np.float32)
DEPTHWISE = RNG.integers(-3, 4, (3, 3, 1, 3)).astype(np.float32)
MASK = np.broadcast_to(np.arange(4)[:, None] > 1, (2, 6, 4, 3))


def convolve(image, kernel, **options):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        *(image, kernel), dimension_numbers=layout, **options
    )


def places(x):
    """Whole numbers from -4 to 5, of which some lie outside of any axis."""
    return jnp.clip(x[:, :3, 0, :2], -4, 5).astype(jnp.int32)  # [2, 3, 2]


def looked_up(x):
    """Rows of channels at computed places, per image."""
    look = jax.vmap(lambda one, at: one.at[at[:, 0], at[:, 1]].get(mode="clip"))
    return look(x, jnp.abs(places(x)))


def sliced(x):
    one = lambda image, at: lax.dynamic_slice(image, (at[0, 0], 1, 0), (2, 2, 3))  # noqa: E731
    return jax.vmap(one)(x, places(x))


def written(x):
    rows = x[0, :, :, 0]

    def turn(i, state):
        best = jnp.argmax(jnp.where(state[i] > -99, state[i], 0))
        return state.at[i].set(state[i] + best)

    return lax.fori_loop(0, 6, turn, rows)


def scanned(x):
    turn = lambda total, item: (total + item, total * 2)  # noqa: E731
    total, items = lax.scan(turn, x[0, 0], x[0], reverse=True)
    return jnp.stack([total, *items])


def ordered(x):
    order = jnp.argsort(x[..., 0], axis=1)
    values, at = lax.top_k(x[..., 1].reshape(2, -1), 5)
    return jnp.concatenate([order.reshape(2, -1).astype(jnp.float32), values, at], 1)


def logic(x):
    low, high = x < -2, x > 2
    same = jnp.where(x == 3, low, ~high) & (x != 5) | MASK
    return jnp.stack([same.any(axis=2), same.all(axis=2), (low | high).any(axis=2)])


def arithmetic(x):
    whole = x.astype(jnp.int32)
    parts = [
        *(lax.rem(whole, 4), lax.div(whole, 3), jnp.sign(whole), jnp.abs(whole)),
        *(jnp.floor(x / 2), lax.rsqrt(x * x + 1), jnp.exp(x / 4), jnp.maximum(x, -x)),
    ]
    return sum(part.astype(jnp.float32) * 2**i for i, part in enumerate(parts))


CASES = {
    "strided_convolution": lambda x: convolve(
        x, KERNEL, window_strides=(2, 2), padding=((1, 1), (0, 2))
    ),
    "dilated_depthwise_convolution": lambda x: convolve(
        x,
        DEPTHWISE,
        window_strides=(1, 1),
        padding="SAME",
        rhs_dilation=(2, 1),
        feature_group_count=3,
    ),
    "transposed_convolution": lambda x: lax.conv_transpose(
        *(x, WIDE, (2, 2), "SAME"), dimension_numbers=("NHWC", "HWIO", "NHWC")
    ),
    "transposed_convolution_cut": lambda x: convolve(
        x,
        WIDE,
        window_strides=(1, 1),
        padding=((3, 1), (0, 2)),
        lhs_dilation=(2, 3),
    ),
    "convolution_with_a_computed_kernel": lambda x: convolve(
        x, x.transpose(1, 2, 3, 0)[:3, :3], window_strides=(1, 1), padding="VALID"
    ),
    "resize": lambda x: jax.image.resize(x, (2, 12, 8, 3), "bilinear"),
    "sum_over_products": lambda x: jnp.einsum("bhwc,bkwc->bhk", x, x[:, ::2]),
    "reverse_and_pick": lambda x: x[:, ::-1, 1:3][..., np.array([2, 0, 1])],
    "steps": lambda x: x[:, 4:0:-2, ::3, 1:] + x[:, 3:5, 1:3, ::-1][..., :2],
    "one_of_each": lambda x: x[1:, 5:6, ::-1, 2:] + x[:1, [2], :, 1:2],
    "pick_known_pairs": lambda x: x[np.array([0, 1]), np.array([5, 2])],
    "look_up": looked_up,
    "slices_from_computed_places": sliced,
    "along_an_axis": lambda x: jnp.take_along_axis(
        x[:, :3], jnp.abs(places(x))[..., None] % 4, axis=2, mode="clip"
    ),
    "loop_that_writes": written,
    "loop_backwards": scanned,
    "order": ordered,
    "first_of_the_largest": lambda x: jnp.argmax(x, axis=2),
    "largest_in_windows": lambda x: lax.reduce_window(
        *(x[..., 0], -jnp.inf, lax.max), (1, 3, 3), (1, 2, 1), "SAME"
    ),
    "largest_in_windows_of_several_maps": lambda x: lax.reduce_window(
        *(x, -jnp.inf, lax.max), (1, 3, 2, 1), (1, 1, 2, 1), "SAME"
    ),
    "split": lambda x: jnp.concatenate(jnp.split(x, (1, 4), axis=1)[::-1], axis=1),
    "powers": lambda x: jnp.prod(1 + x / 9, axis=3) + x[..., 0] ** 3,
    "any_platform": lambda x: lax.platform_dependent(
        x, cpu=lambda x: x + 1 - 1, default=lambda x: x
    ),
    "logic": logic,
    "arithmetic": arithmetic,
    "norm": lambda x: (x - x.mean(axis=(1, 2), keepdims=True)) / (1 + x.std()),
    "padding": lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0))),
    "repeated_border": lambda x: jnp.where(MASK, x, 7),
    "known_alone": lambda x: jnp.zeros_like(x) + 3,
    "nothing": lambda x: x,
}


def run(model, image):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(["out"], {"image": image})[0]


@pytest.mark.parametrize("name", CASES)
def test_an_operation_gives_what_it_gives_in_jax(name):
    function = jax.jit(lambda image: {"out": CASES[name](image)})
    expected = np.asarray(function(IMAGE)["out"])
    model = to_onnx(function, jax.ShapeDtypeStruct(IMAGE.shape, IMAGE.dtype))
    found = run(model, IMAGE)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_relu_and_slices_are_written_as_runtimes_fuse_them():
    def function(image):
        return {
            "out": jnp.maximum(image, 0)[:, ::-1, 1:3] + jax.nn.relu(image)[:, :, :2]
        }

    image = jax.ShapeDtypeStruct((1, 4, 5, 3), np.float32)
    nodes = [node.op_type for node in to_onnx(function, image).graph.node]
    assert sorted(nodes) == ["Add", "Identity", *["Relu"] * 2, *["Slice"] * 3]


def test_what_repeats_itself_is_stored_once():
    mask = np.broadcast_to(np.arange(500) > 7, (1, 300, 500))

    def function(image):
        return {"out": jnp.where(mask, image, 0) + jnp.where(mask, 0, image)}

    image = jax.ShapeDtypeStruct((1, 300, 500), np.float32)
    assert to_onnx(function, image).ByteSize() < 2000


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lax.erf, "the operation 'erf'"),
        (
            lambda x: lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x),
            "the operation 'while'",
        ),
        (
            lambda x: convolve(
                x,
                DEPTHWISE,
                window_strides=(1, 1),
                padding=((1, 1), (1, 1)),
                lhs_dilation=(2, 2),
                feature_group_count=3,
            ),
            "a transposed convolution with steps, dilation or groups",
        ),
        (
            lambda x: convolve(
                x,
                KERNEL,
                window_strides=(1, 1),
                padding=((9, 1), (1, 1)),
                lhs_dilation=(2, 2),
            ),
            "a transposed convolution that pads by more than its kernel",
        ),
        (lambda x: jnp.lexsort((x, x + 1)), "a sort by several keys"),
        (
            lambda x: x.at[places(x)].get(mode="fill"),
            "a look-up that fills in what is outside",
        ),
        (lambda x: x.at[places(x)].set(0), "'scatter' at computed places"),
        (
            lambda x: lax.dynamic_slice_in_dim(x, places(x)[0, 0, 0], 2),
            "'dynamic_slice' at computed places",
        ),
    ],
)
def test_what_is_unknown_is_named_in_one_line(function, what):
    image = jax.ShapeDtypeStruct(IMAGE.shape, IMAGE.dtype)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        to_onnx(lambda x: {"out": function(x)}, image)
    assert str(caught.value) == (
        f"got {what}, which the ONNX export does not know; export StableHLO, or dense "
        "maps only"
    )
