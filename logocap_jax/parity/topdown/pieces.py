"""Pieces that no whole net belongs to: a head alone, targets, crops, the schedule."""

import functools
import pathlib
from collections.abc import Callable, Set
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from data_pipeline.feed.crops import Region, box_region
from logocap_jax.codecs import proposals
from logocap_jax.geometry import STRIDE
from logocap_jax.methods.topdown.heads import Labels, ProposalHead, near_labels
from logocap_jax.methods.topdown.network import PersonNetwork
from logocap_jax.methods.topdown.weights import FORMAT
from logocap_jax.models.hrnet import W48
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.layout import Arrays
from logocap_jax.parity.topdown.model import (
    MAPS,
    check_points,
    maps_last,
    named_maps,
)
from logocap_jax.training.optim import multi_step_schedule
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.trees import flatten, unflatten

_GRADIENTS, _RATES = 1e-5, 1e-7  # of the largest value
# Epochs, steps in each, and milestones of a schedule's array.
_SCHEDULES = {
    "lr_210_epochs_of_5": (5, (170.0, 200.0)),
    "lr_20_epochs_of_100_milestones_3_12": (100, (3.0, 12.0)),
}
_PADDING = 1.25  # of boxes
_RISE = 500  # updates of the warm-up
_BATCHED = (
    *("features", "keypoints_input_px", "visible", "keypoint_weights"),
    *("features_flip", "decode_keypoints", "decode_scores"),
    *("flip_keypoints", "flip_scores", "grad/features"),
)


def find_piece(names: Set[str]) -> Callable[..., list[StageResult]] | None:
    """The check of a case with these arrays; None: a whole net's, or unknown."""
    if "weights/logit_conv.weight" in names:
        return check_head
    if {"heatmaps", "keypoint_labels"} <= names:
        return check_codec
    if "warp_288x384" in names:
        return check_crops
    return check_schedule if set(_SCHEDULES) <= names else None


def check_head(path: pathlib.Path, *, marks: bool = True) -> list[StageResult]:
    """Compare a head on given features: maps, decoding, losses, gradients.

    Raises:
      ValueError: a damaged file, or weights that the head lacks.
    """
    compare = Comparison(case_name(path), marks=marks)
    with errors_naming(path):
        arrays = read_arrays(path)
        if arrays["features"].ndim == 3:
            single = {name: arrays[name][None] for name in _BATCHED if name in arrays}
            arrays |= single | {"features_flip": arrays["features_mirror"][None]}
        head = _Head(arrays)
    head.check_outputs(compare)
    head.check_losses(compare)
    return compare.results


class _Head:
    """A head with the weights of a case."""

    def __init__(self, arrays: Arrays) -> None:
        prefix = "weights/"
        state = {
            f"head.{name.removeprefix(prefix)}": array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        tree = unflatten(FORMAT.from_torch(state).arrays)
        self.arrays = arrays
        self.variables = {
            name: jax.tree.map(jnp.asarray, part["dense"])
            for name, part in tree.items()
        }
        deconvolutions = self.variables["params"].get("deconvolutions", {})
        self.network = PersonNetwork(
            backbone=W48,  # is not run
            deconvolutions=tuple(
                deconvolutions[f"conv{i}"]["kernel"].shape[-1]
                for i in range(len(deconvolutions) // 2)
            ),
            head="sar",
            num_keypoints=arrays["weights/logit_conv.bias"].size,
            heatmap_branch=True,
        )

    def features(self, name: str = "features") -> Array:
        return jnp.asarray(np.moveaxis(self.arrays[name], 1, -1))

    def maps(self, features: Array) -> dict[str, Array]:
        run = partial(self.network.apply, train=False, part="head")
        return jax.jit(run)(self.variables, features)

    def check_outputs(self, compare: Comparison) -> None:
        """Compare maps at test time, and decoding."""
        maps, mirrored = (
            self.maps(self.features()),
            self.maps(self.features("features_flip")),
        )
        height, width = maps["logits"].shape[1:3]
        for name, values in named_maps(maps).items():
            if name in self.arrays:
                self._relative(compare, name, values, maps_last(self.arrays[name]))
        index = tuple(self.arrays["flip_indices"].tolist())
        average = partial(
            proposals.average_mirrored,
            flip_index=index,
            shift=1 / (STRIDE * width),
        )
        found, other = ProposalHead.decode(maps), ProposalHead.decode(mirrored)
        merged = jax.vmap(average)(*found, *other)
        size = (STRIDE * width, STRIDE * height)
        check_points(compare, self.arrays, "decode", found, size)
        check_points(compare, self.arrays, "flip", merged, size)

    def check_losses(self, compare: Comparison) -> None:
        """Compare losses in training, their gradients, and running statistics."""
        labels = Labels(
            jnp.asarray(self.arrays["keypoints_input_px"], jnp.float32) / STRIDE,
            jnp.asarray(self.arrays["visible"] > 0),
        )

        def loss(params: Any, features: Array) -> tuple[Array, Any]:
            maps, updates = self.network.apply(
                {**self.variables, "params": params},
                features,
                train=True,
                part="head",
                mutable=["batch_stats"],
            )
            terms = ProposalHead.losses(maps, labels)
            total = terms["spatial"] + terms["heatmap"]
            return total, (terms, maps, updates.get("batch_stats", {}))

        run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
        params, features = self.variables["params"], self.features()
        (total, (terms, maps, stats)), grads = run(params, features)
        near = near_labels(labels, *maps["logits"].shape[1:3])[1]
        expected = self.arrays["keypoint_weights"]
        self._relative(compare, "labelled", near, expected)
        heat = self.arrays["heatmap_loss_sum"] / self.arrays["heatmap_loss_count"]
        for name, value, wanted in (
            ("total loss", total, self.arrays["loss_total"]),
            ("spatial-aware loss", terms["spatial"], self.arrays.get("loss_sar")),
            ("heatmap loss", terms["heatmap"], heat),
        ):
            if wanted is not None:
                self._relative(compare, name, value, np.asarray(wanted))
        self._check_gradients(compare, *grads)
        self._check_statistics(compare, stats)

    def _check_gradients(self, compare: Comparison, params: Any, features: Any) -> None:
        expected = np.moveaxis(self.arrays["grad/features"], 1, -1)
        self._relative(compare, "gradient, features", features, expected, _GRADIENTS)
        for key, array in self._by_key({"params": params}).items():
            if f"grad/{key}" in self.arrays:
                wanted = self.arrays[f"grad/{key}"]
                self._relative(compare, f"gradient, {key}", array, wanted, _GRADIENTS)

    def _check_statistics(self, compare: Comparison, stats: Any) -> None:
        for key, array in self._by_key({"batch_stats": stats}).items():
            if f"after/{key}" in self.arrays:
                self._relative(compare, key, array, self.arrays[f"after/{key}"])

    @staticmethod
    def _by_key(tree: Any) -> Arrays:
        """Arrays by the keys of the case."""
        dense = {name: {"dense": part} for name, part in jax.device_get(tree).items()}
        state = FORMAT.to_torch(flatten(dense))
        return {key.removeprefix("head."): array for key, array in state.items()}

    @staticmethod
    def _relative(
        compare: Comparison,
        stage: str,
        found: Any,
        expected: np.ndarray,
        tolerance: float = MAPS,
    ) -> None:
        compare.relative(
            stage,
            np.atleast_1d(np.asarray(found, np.float64)),
            np.atleast_1d(expected),
            tolerance=tolerance,
            fed_with="features",
        )


def check_codec(path: pathlib.Path, *, marks: bool = True) -> list[StageResult]:
    """Compare targets: which keypoints count, and their heatmaps.

    Raises:
      ValueError: a damaged file.
    """
    compare = Comparison(case_name(path), marks=marks)
    with errors_naming(path):
        arrays = read_arrays(path)
    height, width = arrays["heatmaps"].shape[1:]
    points = jnp.asarray(arrays["keypoints_input_px"]) / STRIDE
    near = proposals.is_near(points, height=height, width=width)
    near &= arrays["visible"] > 0
    encode = functools.partial(proposals.encode_heatmap, height=height, width=width)
    heatmaps = np.asarray(jax.vmap(encode)(points) * near[:, None, None])
    labelled = np.asarray(near, np.float32)
    for stage, found, expected in (
        ("labelled", labelled, arrays["keypoint_weights"].ravel()),
        ("heatmaps", heatmaps, arrays["heatmaps"]),
    ):
        compare.relative(stage, found, expected, tolerance=1e-6, fed_with="keypoints")
    return compare.results


def check_crops(path: pathlib.Path, *, marks: bool = True) -> list[StageResult]:
    """Compare the transforms of crops, upright and rotated.

    Raises:
      ValueError: a damaged file.
    """
    compare = Comparison(case_name(path), marks=marks)
    with errors_naming(path):
        arrays = read_arrays(path)
    regions = [box_region(box, _PADDING) for box in arrays["boxes_xyxy"]]
    affines = np.stack(
        [
            Region(region.center, region.sides, float(turn)).affine((288, 384))
            for region, turn in zip(regions, arrays["rotation_deg"], strict=True)
        ]
    )
    compare.relative(
        "transforms", affines, arrays["warp_288x384"], tolerance=1e-6, fed_with="boxes"
    )
    return compare.results


def check_schedule(path: pathlib.Path, *, marks: bool = True) -> list[StageResult]:
    """Compare the learning rates of all updates.

    Raises:
      ValueError: a damaged file.
    """
    compare = Comparison(case_name(path), marks=marks)
    with errors_naming(path):
        arrays = read_arrays(path)
    for name, (steps, milestones) in _SCHEDULES.items():
        rate = multi_step_schedule(
            5e-4,
            milestones=milestones,
            decay=0.1,
            warmup=_RISE / steps,
            warmup_start=1e-3,
            steps_per_epoch=steps,
        )
        found = np.asarray(jax.vmap(rate)(jnp.arange(arrays[name].size)))
        compare.relative(
            name, found, arrays[name], tolerance=_RATES, fed_with="settings"
        )
    return compare.results
