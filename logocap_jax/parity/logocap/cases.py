"""Cases of LOGO-CAP: their file names and arrays.

Axes: `R` network inputs (image and, with the flip test, its mirror image), `B`
training images, `n` centers, `s` shown rows, `m` poses, `f` final poses, `t` slots
that take part, `E` mesh side, `G` window side; the rest as in `structures`.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from logocap_jax.methods import build_config
from logocap_jax.methods.logocap.config import LogoCapConfig
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.layout import (
    Arrays,
    Entry,
    Layout,
    channels_last,
    from_torch,
    offset_maps,
)
from logocap_jax.skeletons import COCO
from logocap_jax.weights.containers import errors_naming

# Endings of a case's name, and the result set whose poses such a case holds.
_RESULTS = {"_initial_only": "initial", "_local_only": "local"}
_NO_FLIP = "_no_flip"


INFERENCE: Layout = {
    "image": Entry("H0 W0 3", required=True),
    "input": Entry("1 3 H W", channels_last),
    "affine": Entry("3 3"),
    "features": Entry("R C h w", channels_last),
    "embedding": Entry("R D h w", channels_last),
    "heatmaps_raw": Entry("R K1 h w", channels_last, required=True),
    "offsets_raw": Entry("R K2 h w", offset_maps),
    "offsets": Entry("1 K2 h w", offset_maps),
    "center_heatmap_fullres": Entry("1 1 H W", channels_last),
    "centers": Entry("n 3", required=True),
    "kem_grid": Entry("n E E K 2"),
    "shown_instances": Entry("s", rows_of="n"),
    "latent": Entry("s KD E E", channels_last, shown_by="shown_instances"),
    "kam_raw": Entry("n K E E", channels_last),
    "global_in": Entry("s K G G", shown_by="shown_instances"),
    "global_out": Entry("s K G G", shown_by="shown_instances"),
    "poses": Entry("m K 3", required=True),
    "scores": Entry("m", required=True),
    "final_keypoints": Entry("f K 3", required=True),
    "final_scores": Entry("f", required=True),
}

TRAINING: Layout = {
    "input": Entry("B 3 H W", channels_last, required=True),
    "heatmap_target": Entry("B K1 h w", channels_last, required=True),
    "heatmap_weight": Entry("B 1 h w", channels_last, required=True),
    "offset_target": Entry("B K2 h w", offset_maps, required=True),
    "offset_weight": Entry("B K2 h w", offset_maps, required=True),
    "heatmaps": Entry("B K1 h w", channels_last),
    "offsets": Entry("B K2 h w", offset_maps),
    "centers": Entry("B N 3"),
    "kem_grid": Entry("B N E E K 2"),
    "kam": Entry("t K E E", channels_last),
    "kam_target": Entry("t K E E", channels_last),
    "oks_person": Entry("t E E"),
    "shown_slots": Entry("s", rows_of="t"),
    "refined": Entry("s K G G", shown_by="shown_slots"),
    "refined_target": Entry("s K G G", shown_by="shown_slots"),
    "refined_mean": Entry("t K"),
    "refined_target_mean": Entry("t K"),
    "losses": Entry("L 4", required=True),
}

# One of each per image of a training case; the image's number follows the name.
PER_IMAGE: Layout = {
    "hflip_": Entry("", required=True),
    "joints_with_center_": Entry("P K1 3", required=True),
    "joint_areas_": Entry("P 1", required=True),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One file of reference arrays.

    Attributes:
      name: folder and file name, for people.
      path: the file.
      training: it holds a training step, else one image's inference.
      flip_test: the reference averaged with the mirror image.
      result: whose poses it holds: `logocap`, or of an ablation `initial`, `local`.
    """

    name: str
    path: pathlib.Path
    training: bool
    flip_test: bool = True
    result: str = "logocap"


def describe(path: pathlib.Path) -> Case | None:
    """The case of a file, by its name; None: not in the reference's layout."""
    name = case_name(path)
    if path.stem.startswith("train_step_"):
        return Case(name, path, True)
    if not path.stem.startswith("infer_"):
        return None
    flip_test = not path.stem.endswith(_NO_FLIP)
    results = [name for end, name in _RESULTS.items() if path.stem.endswith(end)]
    return Case(name, path, False, flip_test, *results)


def read_case(case: Case, config: LogoCapConfig) -> Arrays:
    """Read a case's arrays, checked and in this project's layout.

    Raises:
      ValueError: damaged file, or arrays that are missing or do not fit.
    """
    num_keypoints, slots = config.skeleton.num_keypoints, config.num_slots
    sizes = {"K": num_keypoints, "K1": num_keypoints + 1, "K2": 2 * num_keypoints}
    sizes |= {"N": slots, "E": config.mesh_size, "G": 2 * config.window_radius + 1}
    with errors_naming(case.path):
        arrays = read_arrays(case.path)
        if case.training:
            return _training_arrays(arrays, sizes)
        sizes["R"] = 2 if case.flip_test else 1
        converted = from_torch(arrays, INFERENCE, sizes)
        if arrays["image"].dtype != np.uint8:
            raise ValueError(f"'image': got {arrays['image'].dtype}, expected uint8")
        for name in ("centers", "poses", "final_keypoints"):
            if len(converted[name]) > slots:
                raise ValueError(
                    f"{name!r}: got {len(converted[name])} rows, expected at most "
                    f"{slots}"
                )
        return converted


def _training_arrays(arrays: Arrays, sizes: Mapping[str, int]) -> Arrays:
    converted = from_torch(arrays, TRAINING, sizes)
    for i in range(len(converted["input"])):
        people = {f"{name}{i}": entry for name, entry in PER_IMAGE.items()}
        from_torch(arrays, people, sizes)
    return converted


def make_config(settings: Mapping[str, Any]) -> LogoCapConfig:
    """Settings of the reference's model with these sizes.

    All slots may take part in training, as in the reference.

    Args:
      settings: as weights tell them, without the method's name.

    Raises:
      ValueError: the skeleton is not COCO's.
    """
    config: LogoCapConfig = build_config(
        "logocap", {**settings, "instance_budget": LogoCapConfig.num_slots}
    )
    if config.skeleton != COCO:
        raise ValueError(
            f"got weights for skeleton {config.skeleton.name!r}, expected 'coco', "
            "whose cases these are"
        )
    return config
