"""One image, stage by stage, against the reference."""

import functools
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logocap_jax import geometry
from logocap_jax.methods import initial_poses
from logocap_jax.methods.initial_poses import InitialPoses
from logocap_jax.parity.cases import Case
from logocap_jax.parity.center_check import check_centers
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.dense_arrays import (
    filled_maps,
    reference_maps,
    rounding_noise,
    values_at,
)
from logocap_jax.parity.inference_stages import InferenceStages, Maps, warp
from logocap_jax.parity.layout import Arrays
from logocap_jax.parity.pose_check import check_final, check_final_alone, check_poses
from logocap_jax.parity.training_stages import middle
from logocap_jax.structures import Poses

# Arrays of a case, and what people call them.
_DENSE = {
    "features": "features",
    "embedding": "embedding",
    "heatmaps_raw": "heatmaps",
    "offsets_raw": "offsets",
    "offsets": "offsets, averaged",
    "center_heatmap_fullres": "centre heatmap",
}
_SLOTS = {
    "kem_grid": "mesh",
    "latent": "latent",
    "kam_raw": "KAM",
    "global_in": "global window",
    "global_out": "refined window",
}
# Those of which a case holds a few rows only.
_SHOWN = ("latent", "global_in", "global_out")
_TOLERANCES = {  # shares of the largest value
    **dict.fromkeys([*_DENSE, "kem_grid"], 1e-5),
    **dict.fromkeys(["latent", "kam_raw", "global_in", "global_out"], 2e-5),
}


def check_inference(
    case: Case, arrays: Arrays, stages: InferenceStages, *, marks: bool = True
) -> list[StageResult]:
    """Compare every stage, end to end and alone, with the arrays of a case.

    Args:
      case: which one.
      arrays: its arrays in this project's layout.
      stages: of the model with the case's weights.
      marks: hold errors against tolerances.

    Returns:
      Results in the order of the stages.
    """
    return _InferenceCheck(case, arrays, stages, marks).run()


class _InferenceCheck:
    """Steps of one check; each adds its results to the comparison."""

    def __init__(
        self, case: Case, arrays: Arrays, stages: InferenceStages, marks: bool
    ) -> None:
        self._case, self._arrays, self._stages = case, arrays, stages
        self._compare = Comparison(case.name, marks=marks)
        self._reference = reference_maps(arrays, stages)

    def run(self) -> list[StageResult]:
        images, transform = self._preprocessing()
        raw = self._stages.from_network(images)
        noisy = self._stages.from_network(images * rounding_noise(images.shape))
        self._dense(raw, noisy)
        centers = self._centers(raw, noisy)
        slots, poses = self._from_centers(raw, centers)
        noisy_slots, noisy_poses = self._from_centers(noisy, centers)
        self._named(_SLOTS, slots, noisy_slots)
        self._slots_alone()
        compare, arrays = self._compare, self._arrays
        check_poses(compare, arrays, poses, noisy=noisy_poses, fed_with="image")
        self._poses_alone()
        check_final(compare, arrays, poses, transform, noisy=noisy_poses)
        check_final_alone(compare, arrays, transform, self._stages.config.num_slots)
        return self._compare.results

    def _preprocessing(
        self,
    ) -> tuple[Float[Array, "R H W 3"], Float[np.ndarray, "2 3"]]:
        """Normalised input with the mirror image that the flip test needs."""
        rows, height, width, _ = self._arrays["heatmaps_raw"].shape
        short_side = geometry.STRIDE * min(height, width)
        pixels, transform = warp(self._arrays["image"], short_side=short_side)
        image = initial_poses.normalise(jnp.asarray(pixels)[None])
        for stage, name, found, tolerance in (
            ("affine", "affine", np.vstack([transform, [0, 0, 1]]), 1e-4),
            ("preprocessing", "input", np.asarray(image), 1e-6),
        ):
            if name in self._arrays:
                self._compare.absolute(
                    stage,
                    found,
                    self._arrays[name],
                    tolerance=tolerance,
                    fed_with="image",
                )
        return jnp.concatenate([image, image[:, :, ::-1]][:rows]), transform

    def _dense(self, found: Maps, noisy: Maps) -> None:
        self._named(_DENSE, found, noisy)
        if "features" in self._arrays:
            alone = self._stages.heads(self._arrays["features"])
            self._named(_DENSE, alone, fed_with="features")
        if "offsets_raw" in self._arrays:
            # Not `self._reference`, which takes the averaged offsets where given.
            raw = {"offsets_raw": self._arrays["offsets_raw"]}
            offsets = self._stages.merge(filled_maps(self._arrays) | raw).offsets[None]
            self._named(_DENSE, {"offsets": offsets}, fed_with="offsets_raw")
        center_map = self._stages.upsample(self._reference.heatmaps)[None, ..., None]
        self._named(
            _DENSE, {"center_heatmap_fullres": center_map}, fed_with="heatmaps_raw"
        )

    def _centers(self, raw: Maps, noisy: Maps) -> Float[np.ndarray, "N 2"]:
        """Centers of all slots, in the reference's order of ties."""
        name = "center_heatmap_fullres"
        maps = [np.asarray(found[name])[0, ..., 0] for found in (raw, noisy)]
        check = functools.partial(
            check_centers, self._compare, self._arrays["centers"], self._stages
        )
        centers = check(*maps, fed_with="image")
        source, given = "heatmaps_raw", self._stages.upsample(self._reference.heatmaps)
        if name in self._arrays:
            source, given = name, self._arrays[name][0, ..., 0]
        check(np.asarray(given), np.asarray(given), fed_with=source)
        return centers

    def _from_centers(
        self, raw: Maps, centers: Float[np.ndarray, "N 2"]
    ) -> tuple[Maps, Poses]:
        """The arrays of all slots, and the poses of the case's result set."""
        slots, points = self._stages.from_centers(raw, centers)
        values = values_at(
            np.asarray(raw["center_heatmap_fullres"])[0, ..., 0], centers
        )
        heatmaps = self._stages.merge(raw).heatmaps
        return slots, self._result_set(heatmaps, points, values, slots["kam_raw"])

    def _slots_alone(self) -> None:
        """Each stage of the slots, from what the reference has before it."""
        arrays, stages = self._arrays, self._stages
        alone = functools.partial(self._named, _SLOTS)
        if "offsets" in arrays or "offsets_raw" in arrays:
            points = stages.initial(self._reference.offsets, arrays["centers"][:, :2])
            alone({"kem_grid": stages.mesh(points)}, fed_with="offsets, centers")
        if "kem_grid" not in arrays or "shown_instances" not in arrays:
            return
        shown = arrays["shown_instances"]
        mesh = arrays["kem_grid"][shown]
        if "embedding" in arrays:
            latent = stages.latent(arrays["embedding"][0], mesh)
            alone({"latent": latent}, fed_with="embedding, kem_grid")
        if {"latent", "kam_raw"} <= arrays.keys():
            kam = stages.kam(arrays["latent"])
            alone({"kam_raw": kam}, fed_with="latent", rows=shown)
        windows = stages.windows(self._reference.heatmaps[..., :-1], middle(mesh))
        alone({"global_in": windows}, fed_with="heatmaps_raw, kem_grid")
        if {"global_in", "kam_raw"} <= arrays.keys():
            refined = stages.adapt(arrays["global_in"], arrays["kam_raw"][shown])
            alone({"global_out": refined}, fed_with="global_in, kam_raw")

    def _result_set(
        self,
        heatmaps: Array,
        points: Array | np.ndarray,
        values: np.ndarray,
        kam: Array | np.ndarray,
    ) -> Poses:
        """Poses of the case's result set; a slot is valid if it is the reference's."""
        valid = np.arange(len(values)) < max(1, len(self._arrays["centers"]))
        initial = InitialPoses(
            jnp.asarray(points), jnp.asarray(values), jnp.asarray(valid)
        )
        return self._stages.poses[self._case.result](heatmaps, initial, kam)

    def _poses_alone(self) -> None:
        """Poses from the reference's maps and KAM; peaks from its refined windows."""
        arrays, stages = self._arrays, self._stages
        if "kam_raw" not in arrays or self._case.result == "initial":
            return
        centers = arrays["centers"]
        if "kem_grid" in arrays:
            points, source = middle(arrays["kem_grid"]), "kem_grid, kam_raw"
        else:
            points = stages.initial(self._reference.offsets, centers[:, :2])
            source = "offsets, kam_raw"
        heatmaps = self._reference.heatmaps
        poses = self._result_set(heatmaps, points, centers[:, 2], arrays["kam_raw"])
        check_poses(self._compare, arrays, poses, fed_with=source)
        if {"global_out", "kem_grid"} <= arrays.keys():
            shown = arrays["shown_instances"]
            found = np.asarray(stages.peaks(arrays["global_out"], points[shown])[0])
            expected = arrays["poses"][shown]
            self._compare.keypoints("poses", found, expected, fed_with="global_out")

    def _named(
        self,
        names: Mapping[str, str],
        found: Maps,
        noisy: Maps | None = None,
        *,
        fed_with: str = "image",
        rows: np.ndarray | None = None,
    ) -> None:
        """Compare those of `found` that the case has, `rows` of the reference's."""
        for name, stage in names.items():
            if name not in found or name not in self._arrays:
                continue
            expected = self._arrays[name]
            if rows is not None:
                expected = expected[rows]
            value = self._listed(name, found[name])
            self._compare.relative(
                stage,
                value,
                expected,
                tolerance=_TOLERANCES[name],
                fed_with=fed_with,
                noisy=None if noisy is None else self._listed(name, noisy[name]),
            )

    def _listed(self, name: str, slots: Array) -> np.ndarray:
        """Of an array with a row per slot those rows that the case lists."""
        value, count = np.asarray(slots), self._stages.config.num_slots
        if name not in _SLOTS or len(value) != count:
            return value
        if name in _SHOWN:
            return value[self._arrays["shown_instances"]]
        return value[: len(self._arrays["centers"])]
