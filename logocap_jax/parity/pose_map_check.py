"""What checks of the methods with pose maps have in common."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Array

from logocap_jax.methods.base import LossFn, Stage, Variables
from logocap_jax.methods.initial_poses import train_maps
from logocap_jax.methods.pose_map import PoseMapConfig
from logocap_jax.methods.targets import LossRules
from logocap_jax.parity.cases import array_names, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult, rounding_noise
from logocap_jax.parity.pose_map_cases import (
    Case,
    check_all_centers,
    check_inputs,
    test_options,
)
from logocap_jax.parity.pose_map_training import training_check
from logocap_jax.parity.walk import StageWalker, check_stages
from logocap_jax.weights.containers import errors_naming

TOLERANCE = 1e-5  # of the largest value

Maps = dict[str, Any]
Check = Callable[[pathlib.Path], list[StageResult]]
_Config = TypeVar("_Config", bound=PoseMapConfig)


def make_case_check(
    method: str,
    config: _Config,
    variables: Variables,
    *,
    stages: Callable[[_Config], tuple[Stage, ...]],
    inference: Callable[..., list[StageResult]],
    loss: Callable[..., Any],
    rules: Callable[[_Config], LossRules],
    heatmaps: Callable[[Any], Array],
    marks: bool,
) -> Check:
    """The check of a model's cases.

    Cases with `losses` are steps of training, those with `centers_index` one image
    through the test path, in the reference's layout; of others the named stages are
    walked.

    Args:
      method: its name.
      config: its settings.
      variables: of the model.
      stages: settings -> its stages.
      inference: path, settings, variables, `marks` -> results of one image.
      loss: a `LossFn` behind the settings.
      rules: settings -> rules of its targets.
      heatmaps: maps of the network -> the heatmaps that learn.
      marks: hold errors against tolerances.
    """

    def maps(variables: Variables, image: Array) -> tuple[Array, Array]:
        found, _ = train_maps(config.network(), variables, image)  # type: ignore[attr-defined]
        return heatmaps(found), found.offsets

    loss_fn: LossFn = functools.partial(loss, config)
    count = config.skeleton.num_keypoints
    check_training = training_check(count, loss_fn, rules(config), maps)

    def check(path: pathlib.Path) -> list[StageResult]:
        with errors_naming(path):
            names = array_names(path)
        if "losses" in names:
            return check_training(path, variables, marks=marks)
        if "centers_index" in names:
            return inference(path, config, variables, marks=marks)
        return check_stages(path, method, stages(config), variables, marks=marks)

    return check


def with_options(path: pathlib.Path, config: _Config) -> _Config:
    """Settings with the options that a case was computed with.

    Raises:
      ValueError: damaged file, or options that make no sense.
    """
    with errors_naming(path):
        options = test_options(path, read_arrays(path), config)
        return dataclasses.replace(config, **options)


class PoseMapCheck:
    """Steps of a check up to candidates; each adds its results to the comparison."""

    def __init__(
        self,
        case: Case,
        config: PoseMapConfig,
        stages: tuple[Stage, ...],
        variables: Variables,
        marks: bool,
    ) -> None:
        """Compute nothing yet; arguments are of one case and its model."""
        self.case, self.arrays, self.config = case, case.arrays, config
        self.compare = Comparison(case.name, marks=marks)
        self.walk = StageWalker(stages, variables)

    def start(self) -> Maps:
        """The inputs that are no maps."""
        return {"valid_size": None, "input_to_image": self.case.to_image}

    def dense(self, *names: str) -> tuple[Maps, Maps]:
        """Maps, and network arrays by name; and the same from noisy inputs.

        Those are changed by one rounding step.
        """
        check_inputs(self.compare, self.case)
        inputs = self.case.inputs
        noisy = {
            scale: image * rounding_noise(image.shape)
            for scale, image in inputs.items()
        }
        return self._dense(inputs, names), self._dense(noisy, names)

    def _dense(
        self, inputs: Mapping[float, np.ndarray], names: tuple[str, ...]
    ) -> Maps:
        others = tuple(inputs[scale] for scale in self.config.other_scales)
        given = {"input": inputs[1.0], "scaled_input": others, "valid_size": None}
        scaled = ("scaled_maps",) if others else ()
        maps = ("heatmaps", "pose_map", "fused", *scaled)
        return self.start() | self.walk(given, "inputs", *names, *maps)

    def check_edge(self, found: Maps) -> None:
        """Compare the last columns of the mirror images."""
        edge = "input_mirror_right_edge"
        if edge in self.arrays and self.config.flip_test:
            width = self.arrays[edge].shape[2]
            ours = np.asarray(found["inputs"])[1:, :, -width:]
            self.check_raw(edge, ours, label="mirror image, right edge")

    def check_raw(
        self, name: str, ours: Any, noisy: Any = None, *, label: str = ""
    ) -> None:
        """Compare an array, if the case has it, in as many rows as that holds.

        Of several scales it is known at scale 1 alone.
        """
        if name not in self.arrays:
            return
        expected = self.arrays[name]
        rows = slice(len(expected))
        if len(self.case.scales) == 1 or ours[rows].shape == expected.shape:
            noise = None if noisy is None else noisy[rows]
            self.relative(label or name, ours[rows], expected, "input", noise)

    def check_maps(self, found: Maps, noisy: Maps) -> None:
        """Compare averaged heatmaps and pose maps of all scales, and fused ones."""
        for which, (label, expected) in enumerate(
            (("heatmaps", self.case.heatmaps), ("pose map", self.case.pose_maps))
        ):
            ours, theirs = self.by_scale(found, which), self.by_scale(noisy, which)
            for scale, array in expected.items():
                name = label if scale == 1 else f"{label}, scale {scale:g}"
                self.relative(name, ours[scale], array, "input", theirs[scale])
        self.check_fused(found, "input", noisy)

    def by_scale(self, maps: Maps, which: int) -> dict[float, np.ndarray]:
        """Heatmaps (0) or pose maps (1) by scale."""
        both = dict(
            zip(self.config.other_scales, maps.get("scaled_maps", ()), strict=True)
        )
        both[1.0] = (maps["heatmaps"], maps["pose_map"])
        return {scale: np.asarray(both[scale][which]) for scale in self.case.scales}

    def check_fused(
        self, found: Maps, fed_with: str, noisy: Maps | None = None
    ) -> None:
        """Compare the shown fused heatmaps, of those that decoding fuses."""
        if "fused" not in self.arrays:
            return
        shown = self.arrays["shown_fused"]
        rows = shown < found["fused"].shape[-1]
        ours, theirs = (
            None if maps is None else np.asarray(maps["fused"])[..., shown[rows]]
            for maps in (found, noisy)
        )
        expected = self.arrays["fused"][..., rows]
        self.relative("fused", ours, expected, fed_with, theirs)

    def check_centers(
        self,
        found: Maps,
        noisy: Maps,
        fed_with: str,
        thresholds: Mapping[float, float] | None = None,
    ) -> Maps:
        """Compare centres by the values of their maps; see `check_all_centers`."""
        maps, noise = (
            {scale: x[0, ..., -1] for scale, x in self.by_scale(arrays, 0).items()}
            for arrays in (found, noisy)
        )
        return check_all_centers(
            self.compare,
            self.case,
            self.config,
            maps,
            noise,
            fed_with=fed_with,
            thresholds=thresholds,
        )

    def check_candidates(self, given: Maps, fed_with: str) -> Maps:
        """Compare the poses at the centres; returns them, too."""
        found = self.walk(given, "candidates")
        valid = np.asarray(given["center_valid"])[0]
        ours = np.asarray(found["candidates"])[0][valid]
        expected = self.arrays["poses_regressed"]
        self.compare.keypoints("candidates", ours, expected, fed_with=fed_with)
        return given | found

    def reference_maps(self) -> Maps | None:
        """The reference's maps of all scales; None: the case lacks some."""
        heatmaps, poses = self.case.heatmaps, self.case.pose_maps
        if not set(heatmaps) == set(poses) == set(self.case.scales):
            return None
        others = [(heatmaps[s], poses[s]) for s in self.config.other_scales]
        scaled = {"scaled_maps": tuple(others)} if others else {}
        maps = {"heatmaps": heatmaps[1.0], "pose_map": poses[1.0]}
        return self.start() | maps | scaled

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """The reference's rows in all slots."""
        fill = (0, self.config.num_slots - len(rows))
        return np.pad(rows, (fill, *((0, 0),) * (rows.ndim - 1)))[None]

    def relative(
        self, stage: str, found: Any, expected: Any, fed_with: str, noisy: Any = None
    ) -> None:
        """Hold the largest error against a share of the largest value."""
        self.compare.relative(
            stage,
            np.asarray(found, np.float32),
            expected,
            tolerance=TOLERANCE,
            fed_with=fed_with,
            noisy=None if noisy is None else np.asarray(noisy, np.float32),
        )
