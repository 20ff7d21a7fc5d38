"""A detector's maps on one image: outputs, full-size heatmaps, tags."""

import dataclasses
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from data_pipeline.feed import affine
from logocap_jax.methods.base import Variables
from logocap_jax.methods.higherhrnet.config import HigherHRNetConfig
from logocap_jax.methods.higherhrnet.stages import make_stages
from logocap_jax.methods.initial_poses import normalise
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult, rounding_noise
from logocap_jax.parity.layout import Arrays, Entry, Layout, channels_last, from_torch
from logocap_jax.parity.walk import StageWalker
from logocap_jax.weights.containers import errors_naming

TOLERANCE = 1e-5  # of the largest value

LAYOUT: Layout = {
    "image": Entry("H0 W0 3"),
    "input": Entry("1 3 H W", channels_last, required=True),
    "features": Entry("2 c h w", channels_last),
    "out4": Entry("2 O h w", channels_last),
    "deconv_features": Entry("2 d h2 w2", channels_last),
    "out2": Entry("2 C h2 w2", channels_last),
    "heatmap_mean": Entry("K"),
    "shown_types": Entry("s", rows_of="K"),
    "heatmaps": Entry("s H W", shown_by="shown_types"),
    "tags": Entry("s H W T", shown_by="shown_types"),
}
_WANTED = (
    *("features", "coarse_raw", "tags_raw", "fine_features", "fine_raw"),
    *("heat_planes", "tag_planes"),
)


def check_maps(
    path: pathlib.Path,
    config: HigherHRNetConfig,
    variables: Variables,
    *,
    marks: bool = True,
) -> list[StageResult]:
    """Compare the maps of an image and its mirror image.

    Args:
      path: of the case.
      config: settings of the detector.
      variables: of the detector, the subtree `dense` among them.
      marks: hold errors against tolerances.

    Raises:
      ValueError: damaged file, or arrays that are missing or do not fit.
    """
    count = config.skeleton.num_keypoints
    with errors_naming(path):
        arrays = read_arrays(path)
        sizes = {"K": count, "C": config.num_heatmaps, "O": 2 * config.num_heatmaps}
        arrays = from_torch(arrays, LAYOUT, sizes)
    compare = Comparison(case_name(path), marks=marks)
    if "image" in arrays:
        _check_input(compare, arrays)
    config = dataclasses.replace(config, flip_test=True, test_scales=(1.0,))
    walk = StageWalker(make_stages(config), variables)
    image = arrays["input"]
    found, noisy = (
        _maps(walk({"input": x, "valid_size": None}, *_WANTED), arrays)
        for x in (image, image * rounding_noise(image.shape))
    )
    for name, array in found.items():
        if name in arrays:
            compare.relative(
                name,
                array,
                arrays[name],
                tolerance=TOLERANCE,
                fed_with="input",
                noisy=noisy[name],
            )
    return compare.results


def _maps(found: dict[str, Any], arrays: Arrays) -> dict[str, np.ndarray]:
    """The stages' arrays under the case's names."""
    found = {name: np.asarray(array) for name, array in found.items()}
    heat, tags = found["heat_planes"][0], np.moveaxis(found["tag_planes"][0], 1, -1)
    shown = arrays.get("shown_types", np.empty(0, int))
    per_component = arrays.get("tag_mean", np.empty(0)).ndim == 2
    return {
        "features": found["features"],
        "out4": np.concatenate([found["coarse_raw"], found["tags_raw"]], axis=-1),
        "deconv_features": found["fine_features"],
        "out2": found["fine_raw"],
        "heatmap_mean": heat.mean(axis=(1, 2), dtype=np.float64),
        "tag_mean": tags.mean(
            axis=(1, 2) if per_component else (1, 2, 3), dtype=np.float64
        ),
        "heatmaps": heat[shown],
        "tags": tags[shown],
    }


def _check_input(compare: Comparison, arrays: Arrays) -> None:
    """Compare the input that is made from the photograph."""
    image = arrays["image"]
    height, width = arrays["input"].shape[1:3]
    sides = (image.shape[1], image.shape[0])
    short = min(height, width)
    size = affine.eval_input_size(sides, short_side=short, rounding="half even")
    transform = affine.eval_affine(sides, size, "half even")
    pixels = affine.warp_image(image, transform, size=size)[None]
    compare.absolute(
        "input",
        np.asarray(normalise(jnp.asarray(pixels))),
        arrays["input"],
        tolerance=1e-6,
        fed_with="image",
    )
