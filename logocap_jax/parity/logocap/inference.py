"""One image, stage by stage, against the reference."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from data_pipeline.feed import affine
from logocap_jax import geometry
from logocap_jax.methods import initial_poses
from logocap_jax.methods.base import Variables
from logocap_jax.methods.initial_poses import MAPS, RAW
from logocap_jax.methods.logocap.config import LogoCapConfig, build_model
from logocap_jax.methods.logocap.stages import make_stages
from logocap_jax.parity.centers import check_centers, values_at
from logocap_jax.parity.compare import Comparison, StageResult, rounding_noise
from logocap_jax.parity.layout import Arrays
from logocap_jax.parity.logocap.cases import Case
from logocap_jax.parity.logocap.poses import check_final, check_poses, reference_poses
from logocap_jax.parity.walk import StageWalker
from logocap_jax.structures import Poses

# Arrays of a case by the names that the table has for them.
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
# Arrays that a case holds a few rows of.
_SHOWN = ("latent", "global_in", "global_out")
_TOLERANCES = {  # shares of the largest value
    **dict.fromkeys([*_DENSE, "kem_grid"], 1e-5),
    **dict.fromkeys(["latent", "kam_raw", "global_in", "global_out"], 2e-5),
}
# The stages' names of those arrays that have another in a case.
_KEYS = {
    "embedding": "embedding_raw",
    "center_heatmap_fullres": "center_map",
    "kem_grid": "mesh",
    "global_in": "windows",
    "global_out": "adapted",
}

# Arrays by the names that the stages give them, of JAX or NumPy.
Maps = dict[str, Any]


def warp(
    image: UInt8[np.ndarray, "H0 W0 3"], *, short_side: int
) -> tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "2 3"]]:
    """The input at test time, and the transform from original to input px."""
    image_size = (image.shape[1], image.shape[0])
    size = affine.eval_input_size(image_size, short_side=short_side)
    transform = affine.eval_affine(image_size, size)
    return affine.warp_image(image, transform, size=size), transform


class InferenceStages:
    """LOGO-CAP's named stages for one image.

    Attributes:
      config: settings of the reference's model.
    """

    def __init__(
        self,
        config: LogoCapConfig,
        variables: Variables,
        *,
        flip_test: bool = True,
        refine_with: str = "both",
    ) -> None:
        """Compile nothing yet.

        Args:
          config: settings.
          variables: of the whole model.
          flip_test: as in the method's config.
          refine_with: as in the method's config.
        """
        self.config = config
        # More than the reference has, so that a tie that they cut in two is whole.
        slots = 2 * config.num_slots
        walked = dataclasses.replace(
            config,
            num_slots=slots,
            slots_per_step=slots,
            flip_test=flip_test,
            refine_with=refine_with,
        )
        self._walk = StageWalker(make_stages(build_model(walked)), variables)

    def dense(self, given: Maps, *wanted: str) -> Maps:
        """Compute arrays from arrays; normalised images are `inputs`."""
        return self._walk({"valid_size": None, "input_sizes": None, **given}, *wanted)

    def from_images(self, images: Float[Array, "R H W 3"]) -> Maps:
        """All dense arrays, from an image and its mirror image."""
        names = ("features", *RAW, *MAPS, "center_map")
        return self.dense({"inputs": images}, *names)

    def centers(
        self, center_map: Float[Array, "H W"] | Float[np.ndarray, "H W"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and values of twice as many centers as there are slots."""
        found = self.dense({"center_map": center_map[None]}, "centers", "center_values")
        return np.asarray(found["centers"][0]), np.asarray(found["center_values"][0])

    def slots(self, given: Maps, slots: Maps, *wanted: str) -> Maps:
        """Compute arrays of slots.

        Args:
          given: dense arrays.
          slots: arrays of slots, without the batch axis; all hold a pose unless
            `valid` says otherwise.
          wanted: names.

        Returns:
          The wanted arrays, without the batch axis.
        """
        count = len(jax.tree.leaves(slots)[0])
        slots = {"valid": np.ones(count, bool), **slots}
        batched = jax.tree.map(lambda x: jnp.asarray(x)[None], slots)
        return jax.tree.map(lambda x: x[0], self.dense(given | batched, *wanted))

    def suppress(self, poses: Poses) -> Poses:
        """Pose NMS."""
        sets = {"initial_poses": poses, "refined_poses": poses}
        return self.slots({}, sets, "outputs")["outputs"]["logocap"]


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
        self._reference = self._merged()

    def run(self) -> list[StageResult]:
        images, transform = self._preprocessing()
        found = self._stages.from_images(images)
        noisy = self._stages.from_images(images * rounding_noise(images.shape))
        self._dense(found, noisy)
        centers = self._centers(found, noisy)
        slots, poses = self._from_centers(found, centers)
        noisy_slots, noisy_poses = self._from_centers(noisy, centers)
        self._named(_SLOTS, slots, noisy_slots)
        self._slots_alone()
        compare, arrays, suppress = self._compare, self._arrays, self._stages.suppress
        check_poses(compare, arrays, poses, noisy=noisy_poses, fed_with="image")
        self._poses_alone()
        final, noisy_final = suppress(poses), suppress(noisy_poses)
        check_final(compare, arrays, final, transform, noisy=noisy_final)
        count = self._stages.config.num_slots
        given = suppress(reference_poses(arrays, count))
        affine = arrays.get("affine", transform)[:2].astype(np.float64)
        check_final(compare, arrays, given, affine, fed_with="poses, scores")
        return compare.results

    def _merged(self) -> Maps:
        """The reference's averaged maps; zeros for those that the case lacks."""
        raw = self._raw_maps()
        maps = self._stages.dense(raw, *MAPS)
        return maps | {x: self._arrays[x] for x in ["offsets"] if x in self._arrays}

    def _raw_maps(self) -> Maps:
        arrays, heatmaps = self._arrays, self._arrays["heatmaps_raw"]
        *shape, channels = heatmaps.shape
        offsets = np.zeros((*shape, channels - 1, 2), np.float32)
        embedding = np.zeros((*shape, 1), np.float32)
        return {
            "heatmaps_raw": heatmaps,
            "offsets_raw": arrays.get("offsets_raw", offsets),
            "embedding_raw": arrays.get("embedding", embedding),
        }

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
        dense, arrays = self._stages.dense, self._arrays
        self._named(_DENSE, found, noisy)
        if "features" in arrays:
            alone = dense({"features": arrays["features"]}, *RAW)
            self._named(_DENSE, alone, fed_with="features")
        if "offsets_raw" in arrays:
            # Not `self._reference`, which takes the averaged offsets where given.
            alone = dense(self._raw_maps(), "offsets")
            self._named(_DENSE, alone, fed_with="offsets_raw")
        alone = dense({"heatmaps": self._reference["heatmaps"]}, "center_map")
        self._named(_DENSE, alone, fed_with="heatmaps_raw")

    def _centers(self, found: Maps, noisy: Maps) -> Float[np.ndarray, "N 2"]:
        """Centers of all slots, in the reference's order of ties."""
        source, name = "heatmaps_raw", "center_heatmap_fullres"
        heatmaps = self._reference["heatmaps"]
        given = self._stages.dense({"heatmaps": heatmaps}, "center_map")["center_map"]
        if name in self._arrays:
            source, given = name, self._arrays[name][..., 0]
        maps = [np.asarray(x["center_map"][0]) for x in (found, noisy)]
        reference = np.asarray(given[0])
        check = functools.partial(
            check_centers,
            self._compare,
            self._arrays["centers"],
            self._stages,
            reference=reference,
        )
        centers: np.ndarray = check(*maps, fed_with="image").centers
        check(reference, reference, fed_with=source)
        return centers

    def _from_centers(
        self, maps: Maps, centers: Float[np.ndarray, "N 2"]
    ) -> tuple[Maps, Poses]:
        """The arrays of all slots, and the poses of the case's result set."""
        values = values_at(np.asarray(maps["center_map"][0]), centers)
        wanted = ("mesh", "latent", "kam_raw", "windows", "adapted", "initial")
        dense = {name: maps[name] for name in MAPS}
        slots = self._stages.slots(dense, {"centers": centers}, *wanted)
        given = {name: slots[name] for name in ("initial", "kam_raw", "mesh")}
        return slots, self._poses(dense, given, values)

    def _slots_alone(self) -> None:
        """Each stage of the slots, from the reference's own inputs."""
        arrays = self._arrays

        def alone(
            name: str, dense: Maps, slots: Maps, fed_with: str, **rows: Any
        ) -> None:
            found = self._stages.slots(dense, slots, name)
            self._named(_SLOTS, found, fed_with=fed_with, **rows)

        if "offsets" in arrays or "offsets_raw" in arrays:
            offsets = {"offsets": self._reference["offsets"]}
            centers = {"centers": arrays["centers"][:, :2]}
            alone("mesh", offsets, centers, "offsets, centers")
        if "kem_grid" not in arrays or "shown_instances" not in arrays:
            return
        shown = arrays["shown_instances"]
        mesh = arrays["kem_grid"][shown]
        if "embedding" in arrays:
            embedding = {"embedding": arrays["embedding"][:1]}
            alone("latent", embedding, {"mesh": mesh}, "embedding, kem_grid")
        if {"latent", "kam_raw"} <= arrays.keys():
            latent = {"latent": arrays["latent"]}
            alone("kam_raw", {}, latent, "latent", rows=shown)
        heatmaps = {"heatmaps": self._reference["heatmaps"]}
        initial = {"initial": middle(mesh)}
        alone("windows", heatmaps, initial, "heatmaps_raw, kem_grid")
        if {"global_in", "kam_raw"} <= arrays.keys():
            slots = {
                "windows": arrays["global_in"],
                "kam_raw": arrays["kam_raw"][shown],
            }
            alone("adapted", {}, slots, "global_in, kam_raw")

    def _poses(self, dense: Maps, slots: Maps, values: np.ndarray) -> Poses:
        """Poses of the case's result set; a slot is valid if it is the reference's."""
        valid = np.arange(len(values)) < max(1, len(self._arrays["centers"]))
        slots = slots | {"center_values": values, "valid": valid}
        initial = self._case.result == "initial"
        name = "initial_poses" if initial else "refined_poses"
        poses: Poses = self._stages.slots(dense, slots, name)[name]
        return poses

    def _poses_alone(self) -> None:
        """Poses from the reference's maps and KAM; peaks from its refined windows."""
        arrays, stages, reference = self._arrays, self._stages, self._reference
        if "kam_raw" not in arrays or self._case.result == "initial":
            return
        centers = arrays["centers"]
        if "kem_grid" in arrays:
            points, source = middle(arrays["kem_grid"]), "kem_grid, kam_raw"
        else:
            offsets = {"offsets": reference["offsets"]}
            given = {"centers": centers[:, :2]}
            points = stages.slots(offsets, given, "initial")["initial"]
            source = "offsets, kam_raw"
        slots: Maps = {"initial": points, "kam_raw": arrays["kam_raw"]}
        heatmaps = {"heatmaps": reference["heatmaps"]}
        poses = self._poses(heatmaps, slots, centers[:, 2])
        check_poses(self._compare, arrays, poses, fed_with=source)
        if {"global_out", "kem_grid"} <= arrays.keys():
            shown = arrays["shown_instances"]
            slots = {"adapted": arrays["global_out"], "initial": points[shown]}
            found = np.asarray(stages.slots({}, slots, "keypoints")["keypoints"])
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
        """Compare `found` with the case's arrays, `rows` of the reference's."""
        for name, stage in names.items():
            key = _KEYS.get(name, name)
            if key not in found or name not in self._arrays:
                continue
            expected = self._arrays[name]
            if rows is not None:
                expected = expected[rows]
            self._compare.relative(
                stage,
                self._listed(name, found[key]),
                expected,
                tolerance=_TOLERANCES[name],
                fed_with=fed_with,
                noisy=None if noisy is None else self._listed(name, noisy[key]),
            )

    def _listed(self, name: str, slots: Array) -> np.ndarray:
        """The rows of an array of slots that the case lists."""
        value, count = np.asarray(slots, np.float32), self._stages.config.num_slots
        if name == "center_heatmap_fullres":
            return value[..., None]
        if name not in _SLOTS or len(value) != count:
            return value
        if name in _SHOWN:
            return value[self._arrays["shown_instances"]]
        return value[: len(self._arrays["centers"])]


def middle(
    mesh: Float[Array | np.ndarray, "*n E E K 2"],
) -> Float[Array | np.ndarray, "*n K 2"]:
    """The keypoints that a mesh lies around."""
    center = mesh.shape[-3] // 2
    return mesh[..., center, center, :, :]
