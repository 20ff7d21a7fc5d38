import functools

import jax
import jax.numpy as jnp
import pytest

from logocap_jax.codecs.heatmap import gaussian_at, gaussian_window
from logocap_jax.methods.stages import map_valid
from logocap_jax.ops.instance_conv import instance_convolution
from logocap_jax.ops.peaks import top_peaks, top_two
from logocap_jax.ops.sampling import bilinear_sample, sample_window


def _convolution_gradients(windows, kernels):
    def total(*arrays):
        return jnp.sum(instance_convolution(*arrays))

    return jax.grad(total, argnums=(0, 1))(windows, kernels)


def _sample_window(heatmaps, center):
    return sample_window(heatmaps, center, jnp.asarray(1), radius=3, stride=4)


def _map_valid(rows, values):
    return map_valid(jnp.sin, rows, values > 0, chunk=2)


OPERATIONS = {
    "bilinear_sample": (bilinear_sample, (5, 6, 2), (3, 4, 2)),
    "sample_window": (_sample_window, (5, 6, 2), 2),
    "map_valid": (_map_valid, (5, 3), 5),
    "top_peaks": (functools.partial(top_peaks, count=3), (5, 6)),
    "top_two": (top_two, (5, 6)),
    "gaussian_window": (functools.partial(gaussian_window, radius=3, sigma=1.0),),
    "gaussian_at": (functools.partial(gaussian_at, height=3, width=4, sigma=1.0), 2),
    "instance_convolution": (instance_convolution, (2, 7, 7), (2, 3, 3)),
    "its gradients": (_convolution_gradients, (2, 7, 7), (2, 3, 3)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_broadcasts_of_unlike_ranks_are_spelled_out(name):
    operation, *shapes = OPERATIONS[name]
    arrays = [
        jax.ShapeDtypeStruct(jnp.zeros(shape).shape, "float32") for shape in shapes
    ]
    with jax.numpy_rank_promotion("raise"):
        jax.eval_shape(operation, *arrays)
