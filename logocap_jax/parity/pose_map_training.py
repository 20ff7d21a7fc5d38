"""Training cases of the methods with pose maps: targets, losses, three steps."""

import functools
import pathlib
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array

from logocap_jax.methods import targets
from logocap_jax.methods.base import LossFn, Variables
from logocap_jax.methods.initial_poses import normalise
from logocap_jax.methods.targets import LossRules
from logocap_jax.parity.batches import training_batch
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.layout import (
    Arrays,
    Entry,
    Layout,
    channels_last,
    from_torch,
    offset_maps,
)
from logocap_jax.parity.steps import Stepper, check_steps
from logocap_jax.structures import Batch
from logocap_jax.weights.containers import errors_naming

LAYOUT: Layout = {
    "input": Entry("B 3 H W", channels_last, required=True),
    "heatmap_target": Entry("B K1 h w", channels_last, required=True),
    "heatmap_weight": Entry("B C h w", channels_last, required=True),
    "offset_target": Entry("B K2 h w", offset_maps, required=True),
    "offset_weight": Entry("B K2 h w", offset_maps, required=True),
    "heatmaps": Entry("B K1 h w", channels_last, required=True),
    "offsets": Entry("B K2 h w", offset_maps, required=True),
    "losses": Entry("L 2", required=True),
}
# One of each per image; the image's number follows the name.
PER_IMAGE: Layout = {
    "transform_input_": Entry("2 3", required=True),
    "hflip_": Entry("", required=True),
    "joints_": Entry("P K1 3", required=True),
    "area_": Entry("P 1", required=True),
    "mask_": Entry("h w", required=True),
}
_TERMS = {"heatmap": "heatmap", "offset": "offset"}
_MAPS, _TARGETS = 1e-5, 1e-5  # of the largest value

TrainMaps = Callable[[Variables, Array], tuple[Array, Array]]


def training_check(
    num_keypoints: int, loss: LossFn, rules: LossRules, maps: TrainMaps
) -> Callable[..., list[StageResult]]:
    """The check of a model's training cases; compiled once per shape.

    Args:
      num_keypoints: K.
      loss: of the method.
      rules: of its targets.
      maps: variables, normalised images -> heatmaps and offsets by batch statistics.

    Returns:
      Path of a case, variables, `marks` as of `Comparison` -> results. Raises
      `ValueError` for arrays that are damaged, missing or do not fit.
    """
    stepper, train_maps = Stepper(loss, _TERMS), jax.jit(maps)
    make_targets = jax.jit(functools.partial(_targets, rules))

    def check(
        path: pathlib.Path, variables: Variables, *, marks: bool = True
    ) -> list[StageResult]:
        arrays = _read(path, num_keypoints)
        compare, batch = Comparison(case_name(path), marks=marks), _batch(arrays)
        image = normalise(batch.image)
        compare.absolute(
            "preprocessing",
            np.asarray(image),
            arrays["input"],
            tolerance=1e-6,
            fed_with="batch",
        )
        heatmaps, offsets = train_maps(variables, image)
        found = make_targets(batch)
        for tolerance, values in (
            (_TARGETS, found),
            (_MAPS, {"heatmaps": heatmaps, "offsets": offsets}),
        ):
            for name, value in values.items():
                compare.relative(
                    name.replace("_", " "),
                    np.asarray(value),
                    arrays[name],
                    tolerance=tolerance,
                    fed_with="batch",
                )
        check_steps(compare, arrays, stepper, variables, batch)
        return compare.results

    return check


def _read(path: pathlib.Path, num_keypoints: int) -> Arrays:
    sizes = {"K1": num_keypoints + 1, "K2": 2 * num_keypoints}
    with errors_naming(path):
        arrays = read_arrays(path)
        converted = from_torch(arrays, LAYOUT, sizes)
        for i in range(len(converted["input"])):
            people = {f"{name}{i}": entry for name, entry in PER_IMAGE.items()}
            from_torch(arrays, people, sizes)
        return converted


def _batch(arrays: Arrays) -> Batch:
    images = range(len(arrays["input"]))
    return training_batch(
        arrays["input"],
        masks=np.stack([arrays[f"mask_{i}"] for i in images]) > 0,
        joints=[arrays[f"joints_{i}"] for i in images],
        sizes=[arrays[f"area_{i}"][:, 0] for i in images],
        mirrored=[arrays[f"hflip_{i}"] for i in images],
        transforms=[arrays[f"transform_input_{i}"] for i in images],
    )


def _targets(rules: LossRules, batch: Batch) -> dict[str, Array]:
    heat, heat_weight = jax.vmap(
        lambda example: targets.heatmap_targets(example, rules)
    )(batch)
    off, off_weight = jax.vmap(lambda example: targets.offset_targets(example, rules))(
        batch
    )
    return {
        "heatmap_target": heat,
        "heatmap_weight": heat_weight,
        "offset_target": off,
        "offset_weight": off_weight[..., None].repeat(2, axis=-1),
    }
