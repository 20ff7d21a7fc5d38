"""What drawn cases of the methods with pose maps have in common."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from logocap_jax.methods import build_config, find_format
from logocap_jax.methods.stages import run_stages
from logocap_jax.weights.trees import flatten, unflatten

BACKBONE = {
    **{"channels": 4, "stem_channels": 4, "layer1_channels": 4, "layer1_blocks": 1},
    **{"modules": (1, 1, 1), "blocks": 1},
}
SIZE = (64, 128)
AFFINE = np.array([[0.5, 0, 3], [0, 0.5, -2]])


def make_model(folder, method, settings, adjust):
    """Settings and variables, whose weights lie in the folder.

    Activations keep their size. `adjust` takes path and values of each array, to return
    others, under which there are centres.
    """
    config = build_config(
        method, {"backbone": BACKBONE, "heatmap_hidden": 4} | settings
    )
    shapes = jax.eval_shape(
        lambda: config.network().init(
            jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False
        )
    )
    rng, arrays = np.random.default_rng(0), {}
    for path, leaf in flatten(shapes).items():
        collection, _, rest = path.partition("/")
        fan_in = max(int(np.prod(leaf.shape[:-1])), 1)
        values = rng.normal(size=leaf.shape) * (2 / fan_in) ** 0.5
        if leaf.ndim == 1:
            values = ("bias" not in path and "mean" not in path) + 0.1 * values
        values = adjust(path, values, rng)
        arrays[f"{collection}/dense/{rest}"] = values.astype("f")
    np.savez(folder / "weights.npz", **find_format(method).to_torch(arrays))
    return config, unflatten(arrays)


def run_case(make_stages, config, variables, wanted, **options):
    """Inputs of a case, and what this project's own stages make of them.

    Returns:
      The arrays that any case has; those of the stages; settings with the options.
    """
    config = dataclasses.replace(config, **options)
    rng = np.random.default_rng(1)
    inputs = {
        s: rng.normal(size=(1, *(int(side * s) for side in SIZE), 3)).astype("f")
        for s in config.scales
    }
    given = {
        "input": inputs[1.0],
        "scaled_input": tuple(inputs[s] for s in config.other_scales),
        "valid_size": None,
        "input_to_image": None,
    }
    run = jax.jit(lambda *args: run_stages(make_stages(config), *args, wanted))
    found = jax.device_get(run(variables, given))
    arrays = {
        "affine": AFFINE,
        "base_size": np.array(SIZE[::-1]),
        "input_sizes": np.array([inputs[s].shape[1:3] for s in config.scales]),
    }
    for scale, image in inputs.items():
        arrays[f"input{suffix(config, scale)}"] = np.moveaxis(image, -1, 1)
    return arrays, found, config


def suffix(config, scale):
    """What follows the name of an array of one of several scales."""
    several = len(config.scales) > 1
    return f"_{scale:g}".replace(".", "") if several else ""


def channels_first(array):
    return np.moveaxis(np.asarray(array), -1, 0)


def to_image(points):
    """Points in input px -> points in image px."""
    inverse = np.linalg.inv(np.vstack([AFFINE, [0, 0, 1]]))
    return np.asarray(points) @ inverse[:2, :2].T + inverse[:2, 2]
