import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.logocap.keypoints import refine_fused, refine_keypoints

OPTIONS = {"radius": 6, "sigma": 3.0}


@pytest.fixture
def slots():
    """Three slots with two keypoints each, on the heatmaps of two images."""
    rng = np.random.default_rng(0)
    heatmaps = rng.uniform(size=(2, 8, 12, 3)).astype(np.float32)
    keypoints = rng.uniform(-4, 40, size=(3, 2, 2)).astype(np.float32)
    kam = rng.uniform(size=(3, 5, 5, 2)).astype(np.float32)
    return jnp.asarray(heatmaps), jnp.asarray(keypoints), jnp.asarray(kam)


@pytest.mark.parametrize(
    "valid_size", [None, [[32, 32], [28, 40]]], ids=["all", "some"]
)
def test_slots_of_several_images_are_refined_the_same_in_one_kernel(slots, valid_size):
    valid_size = valid_size and jnp.asarray(valid_size)
    image = jnp.asarray([1, 0, 1])
    found = jax.jit(functools.partial(refine_fused, interpret=True, **OPTIONS))(
        *(*slots, valid_size, image)
    )
    expected = refine_keypoints(*slots, valid_size=valid_size, image=image, **OPTIONS)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("valid_size", [None, [28, 40]], ids=["all", "some"])
def test_slots_of_one_image_are_refined_the_same_in_one_kernel(slots, valid_size):
    heatmaps, keypoints, kam = slots
    valid_size = valid_size and jnp.asarray(valid_size)
    inputs = heatmaps[0], keypoints, kam
    found = jax.jit(functools.partial(refine_fused, interpret=True, **OPTIONS))(
        *(*inputs, valid_size, None)
    )
    expected = refine_keypoints(*inputs, valid_size=valid_size, **OPTIONS)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_only_tpus_get_the_kernel_and_only_where_asked_for(slots, fused):
    refine = jax.jit(functools.partial(refine_keypoints, fused=fused, **OPTIONS))
    inputs = slots[0][0], *slots[1:]
    kernels = {
        platform: jax.export.export(refine, platforms=[platform])(*inputs)
        .mlir_module()
        .count("tpu_custom_call")
        for platform in ("cpu", "cuda", "tpu")
    }
    assert kernels == {"cpu": 0, "cuda": 0, "tpu": int(fused)}


def test_other_devices_refine_as_without_the_kernel(slots):
    inputs = slots[0][0], *slots[1:]
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.jit(functools.partial(refine_keypoints, fused=True, **OPTIONS))(*inputs),
        jax.jit(functools.partial(refine_keypoints, **OPTIONS))(*inputs),
    )
