"""Whole nets: crops through the test path, and three training steps."""

import dataclasses
import pathlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_pipeline.feed.affine import invert_affine
from data_pipeline.feed.crops import Region, box_region
from data_pipeline.feed.examples import (
    make_example,
    stack_examples,
)
from data_pipeline.feed.loss_masks import full_masks
from logocap_jax.evaluation.results import to_image
from logocap_jax.methods.base import Variables
from logocap_jax.methods.stages import run_stages
from logocap_jax.methods.topdown import training
from logocap_jax.methods.topdown.config import TopDownConfig
from logocap_jax.methods.topdown.stages import make_stages
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.layout import Arrays, Entry, Layout, from_torch
from logocap_jax.parity.steps import Stepper, check_steps
from logocap_jax.structures import Batch
from logocap_jax.weights.containers import errors_naming

MAPS, POINTS = 1e-5, 1e-3  # of the largest value; px
_LEARNING_RATE = 5e-4
_TERMS = {"spatial": "spatial-aware", "heatmap": "heatmap"}
_INFERENCE: Layout = {
    "crop_rgb": Entry("H W 3", required=True),
    "bbox_xyxy": Entry("4", required=True),
    "input_center": Entry("2", required=True),
    "input_scale": Entry("2", required=True),
    "features": Entry("C h w"),
    "features_mirror": Entry("C h w"),
    "confidence": Entry("K y x"),
    "proposal": Entry("K 2 y x"),
    "heatmap_logit": Entry("K y x"),
    "confidence_mirror": Entry("K y x"),
    "proposal_mirror": Entry("K 2 y x"),
    "decode_keypoints": Entry("K 2", required=True),
    "decode_scores": Entry("K", required=True),
    "flip_keypoints": Entry("K 2", required=True),
    "flip_scores": Entry("K", required=True),
    "final_keypoints": Entry("K 2"),
}
_TRAINING: Layout = {
    "crop_rgb": Entry("B H W 3", required=True),
    "keypoints_input_px": Entry("B K 2", required=True),
    "visible": Entry("B K", required=True),
    "losses": Entry("L 3", required=True),
}


def check_inference(
    path: pathlib.Path,
    config: TopDownConfig,
    variables: Variables,
    *,
    marks: bool = True,
) -> list[StageResult]:
    """Compare one crop: box, features, maps, keypoints of each pass and of both.

    Raises:
      ValueError: damaged file, or arrays that are missing or do not fit.
    """
    arrays = _read(path, _INFERENCE, config)
    compare = Comparison(case_name(path), marks=marks)
    pixels = arrays["crop_rgb"]
    size = (pixels.shape[1], pixels.shape[0])
    config = dataclasses.replace(config, input_size=size, flip_test=True)
    _check_box(compare, arrays, size, config.padding)
    wanted = ("features", "maps", "found", "merged", "outputs")
    run = jax.jit(partial(run_stages, make_stages(config)), static_argnames="wanted")
    given = {"image": jnp.asarray(pixels[None]), "valid_size": None}
    found = run(variables, given, wanted=wanted)
    _check_maps(compare, arrays, found)
    pair = (found["found"].points[0], found["found"].scores[0])
    check_points(compare, arrays, "decode", pair, size)
    merged = (found["merged"].points[0], found["merged"].scores[0])
    check_points(compare, arrays, "flip", merged, size)
    if "final_keypoints" in arrays:
        region = _shown_region(arrays)
        compare.absolute(
            "keypoints in the image",
            to_image(
                np.asarray(found["outputs"]["topdown"].keypoints[0, 0]),
                invert_affine(region.affine(size)),
            ),
            arrays["final_keypoints"],
            tolerance=POINTS,
            fed_with="image",
        )
    return compare.results


def check_points(
    compare: Comparison,
    arrays: Arrays,
    kind: str,
    found: tuple[Any, Any],
    size: tuple[int, int],
) -> None:
    """Compare keypoints, in units of the input of `size`, and their scores."""
    points, scores = (np.asarray(array) for array in found)
    keypoints, values = arrays[f"{kind}_keypoints"], arrays[f"{kind}_scores"]
    stage = {"decode": "keypoints", "flip": "keypoints, flip test"}[kind]
    compare.absolute(
        stage,
        points * np.array(size),
        keypoints,
        tolerance=POINTS,
        fed_with="image",
    )
    compare.relative(
        stage.replace("keypoints", "scores"),
        scores,
        values,
        tolerance=MAPS,
        fed_with="image",
    )


def _shown_region(arrays: Arrays) -> Region:
    """The part of the image that the case's crop shows."""
    center, sides = arrays["input_center"], arrays["input_scale"]
    return Region(center.astype(np.float64), sides.astype(np.float64))


def _check_box(
    compare: Comparison, arrays: Arrays, size: tuple[int, int], padding: float
) -> None:
    """Compare the part of the image that the crop shows."""
    affine = box_region(arrays["bbox_xyxy"], padding).affine(size)
    expected = _shown_region(arrays).affine(size)
    compare.relative(
        "crop of the box", affine, expected, tolerance=1e-6, fed_with="box"
    )


def _check_maps(compare: Comparison, arrays: Arrays, found: dict[str, Any]) -> None:
    """Compare the maps that the case holds, of crop and mirror image."""
    maps = {"features": found["features"], **named_maps(found["maps"])}
    for name, values in maps.items():
        for row, suffix in enumerate(("", "_mirror")):
            if f"{name}{suffix}" in arrays:
                compare.relative(
                    f"{name}{suffix.replace('_', ', ')}",
                    np.asarray(values[row]),
                    maps_last(arrays[f"{name}{suffix}"]),
                    tolerance=MAPS,
                    fed_with="image",
                )


def named_maps(maps: dict[str, Any]) -> dict[str, Any]:
    """Maps of the head under the names that cases have."""
    return {
        "confidence": jax.nn.sigmoid(maps["logits"]),
        "proposal": maps["proposals"],
        "heatmap_logit": maps["heatmaps"],
    }


def maps_last(array: np.ndarray) -> np.ndarray:
    """`[*B, K, (2,) h, w]` -> `[*B, h, w, K, (2)]`; B only with 17 keypoints or so."""
    lead = array.ndim - (4 if array.shape[-3] == 2 else 3)
    return np.moveaxis(array, (-2, -1), (lead, lead + 1))


def check_training(
    path: pathlib.Path,
    config: TopDownConfig,
    variables: Variables,
    *,
    marks: bool = True,
) -> list[StageResult]:
    """Compare losses, gradients and statistics of three steps.

    Raises:
      ValueError: damaged file, or arrays that are missing or do not fit.
    """
    arrays = _read(path, _TRAINING, config)
    compare = Comparison(case_name(path), marks=marks)
    pixels = arrays["crop_rgb"]
    config = dataclasses.replace(config, input_size=pixels.shape[2:0:-1])
    arrays["losses"] = arrays["losses"][:, 1:]  # the first is their sum
    loss = partial(training.loss, config)
    stepper = Stepper(loss, _TERMS, learning_rate=_LEARNING_RATE)
    batch = crop_batch(pixels, arrays["keypoints_input_px"], arrays["visible"] > 0)
    check_steps(compare, arrays, stepper, variables, batch, later=len(_TERMS))
    return compare.results


def crop_batch(
    pixels: np.ndarray, keypoints: np.ndarray, labelled: np.ndarray
) -> Batch:
    """A batch of crops; arrays are `[B, ...]`, in input px."""
    size = (pixels.shape[2], pixels.shape[1])
    examples = [
        make_example(
            image,
            masks=full_masks(size),
            keypoints=points[None],
            labelled=flags[None],
            area=np.ones(1),
            has_center=np.ones(1, bool),
            box=np.zeros((1, 4)),
            max_people=1,
        )
        for image, points, flags in zip(pixels, keypoints, labelled, strict=True)
    ]
    return Batch(**jax.tree.map(jnp.asarray, stack_examples(examples)))


def _read(path: pathlib.Path, layout: Layout, config: TopDownConfig) -> Arrays:
    with errors_naming(path):
        sizes = {"K": config.skeleton.num_keypoints}
        return from_torch(read_arrays(path), layout, sizes)
