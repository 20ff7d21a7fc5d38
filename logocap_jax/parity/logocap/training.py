"""Three training steps, stage by stage, against the reference."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from logocap_jax.methods import initial_poses
from logocap_jax.methods.base import Variables
from logocap_jax.methods.logocap.assignment import Assignment
from logocap_jax.methods.logocap.training import matched_slots
from logocap_jax.parity.centers import in_order
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.layout import Arrays
from logocap_jax.parity.logocap.cases import Case
from logocap_jax.parity.logocap.inference import middle
from logocap_jax.parity.logocap.training_stages import TrainingStages, make_batch
from logocap_jax.parity.steps import check_steps
from logocap_jax.structures import Batch

_DENSE, _SLOTS = 1e-5, 2e-5


def check_training(
    case: Case,
    arrays: Arrays,
    stages: TrainingStages,
    variables: Variables,
    *,
    marks: bool = True,
) -> list[StageResult]:
    """Compare every stage of the first step, and the results of later steps.

    Args:
      case: which one.
      arrays: its arrays in this project's layout.
      stages: of the model.
      variables: before the first step.
      marks: hold errors against tolerances.

    Returns:
      Results in the order of the stages.
    """
    compare = Comparison(case.name, marks=marks)
    batch = make_batch(arrays)
    _check_dense(compare, arrays, stages, variables, batch)
    if "centers" in arrays:
        _check_slots(compare, arrays, stages, variables, batch)
    check_steps(compare, arrays, stages.stepper, variables, batch)
    return compare.results


def _check_dense(
    compare: Comparison,
    arrays: Arrays,
    stages: TrainingStages,
    variables: Variables,
    batch: Batch,
) -> None:
    image = np.asarray(initial_poses.normalise(batch.image))
    compare.absolute(
        "preprocessing", image, arrays["input"], tolerance=1e-6, fed_with="batch"
    )
    for name, target in stages.targets(batch).items():
        compare.absolute(
            name.replace("_", " "),
            np.asarray(target),
            arrays[name],
            tolerance=1e-5,
            fed_with="batch",
        )
    maps = stages.maps(variables, jnp.asarray(image))
    for name in ("heatmaps", "offsets"):
        if name in arrays:
            found = np.asarray(getattr(maps, name))
            compare.relative(
                name, found, arrays[name], tolerance=_DENSE, fed_with="batch"
            )


def _check_slots(
    compare: Comparison,
    arrays: Arrays,
    stages: TrainingStages,
    variables: Variables,
    batch: Batch,
) -> None:
    maps = stages.maps(variables, initial_poses.normalise(batch.image))
    centers = _check_centers(compare, arrays, stages, maps.heatmaps, "batch")
    mesh = stages.mesh(maps.offsets, centers)
    if "heatmaps" in arrays:
        _check_centers(compare, arrays, stages, arrays["heatmaps"], "heatmaps")
    # A slot without any center left has an arbitrary place.
    real = arrays["centers"][..., 2] > 0
    tie = functools.partial(compare.relative, tolerance=_DENSE)
    if "kem_grid" in arrays:
        given = arrays["kem_grid"][real]
        tie("mesh", np.asarray(mesh)[real], given, fed_with="batch")
        if "offsets" in arrays:
            alone = stages.mesh(arrays["offsets"], arrays["centers"][..., :2])
            tie("mesh", np.asarray(alone)[real], given, fed_with="offsets, centers")
            _check_truth(
                compare,
                arrays,
                stages,
                batch,
                arrays["kem_grid"],
                "kem_grid",
            )
    truth, part = _check_truth(compare, arrays, stages, batch, mesh, "batch")
    kam = stages.kam(variables, maps.embedding, mesh, part)
    refined, target = stages.refined(
        maps.heatmaps[..., :-1], middle(mesh), kam, truth.keypoints
    )
    taken = np.asarray(part)
    found = {"kam": np.asarray(kam)[taken]}
    for name, windows in (("refined", refined), ("refined_target", target)):
        rows = np.asarray(windows)[taken]
        if "shown_slots" in arrays and len(rows) > arrays["shown_slots"].max(
            initial=-1
        ):
            found[name] = rows[arrays["shown_slots"]]
        found[f"{name}_mean"] = rows.mean(axis=(2, 3))
    _compare_named(compare, found, arrays, "batch")


def _check_centers(
    compare: Comparison,
    arrays: Arrays,
    stages: TrainingStages,
    heatmaps: Array | np.ndarray,
    fed_with: str,
) -> np.ndarray:
    """Compare centers; ours, in the reference's order of ties."""
    expected = arrays["centers"]
    positions, values, center_maps = stages.centers(heatmaps)
    references: Any = [None] * len(expected)
    if "heatmaps" in arrays:
        references = stages.centers(arrays["heatmaps"])[2]
    real = expected[..., 2] > 0
    listed = [centers[rows] for centers, rows in zip(expected, real, strict=True)]
    images = zip(positions, values, listed, center_maps, references, strict=True)
    ordered = [in_order(*image, slots=expected.shape[1]) for image in images]
    positions = np.stack([image.centers for image in ordered])
    values = np.stack([image.values for image in ordered])
    compare.absolute(
        "centers",
        positions[real],
        expected[real][:, :2],
        tolerance=0.0,
        fed_with=fed_with,
        ties=sum(image.ties for image in ordered),
    )
    compare.relative(
        "centre values", values, expected[..., 2], tolerance=_DENSE, fed_with=fed_with
    )
    return positions


def _check_truth(
    compare: Comparison,
    arrays: Arrays,
    stages: TrainingStages,
    batch: Batch,
    mesh: Array | np.ndarray,
    fed_with: str,
) -> tuple[Assignment, Bool[Array, "B N"]]:
    """Compare the targets of the slots that take part; return truth, and that mask."""
    truth, oks = stages.truth(mesh, batch)
    part = jax.vmap(matched_slots)(truth.matched)
    taken = np.asarray(part)
    found = {
        "kam_target": np.asarray(truth.kam)[taken],
        "oks_person": np.asarray(oks)[taken],
    }
    _compare_named(compare, found, arrays, fed_with)
    return truth, part


def _compare_named(
    compare: Comparison, found: Mapping[str, np.ndarray], arrays: Arrays, fed_with: str
) -> None:
    names = {"kam": "KAM", "kam_target": "KAM target", "oks_person": "pose OKS"}
    for name, value in found.items():
        if name in arrays:
            stage = names.get(name, name.replace("_", " "))
            compare.relative(
                stage, value, arrays[name], tolerance=_SLOTS, fed_with=fed_with
            )
