"""Associative embedding: assignments, people, and their refinement."""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logocap_jax.evaluation.results import to_image
from logocap_jax.methods.base import Variables
from logocap_jax.methods.higherhrnet.config import HigherHRNetConfig
from logocap_jax.methods.higherhrnet.grouping import group
from logocap_jax.methods.higherhrnet.munkres import assign
from logocap_jax.methods.higherhrnet.stages import make_stages
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.layout import Arrays, Entry, Layout, from_torch
from logocap_jax.parity.walk import StageWalker
from logocap_jax.skeletons import KNOWN
from logocap_jax.weights.containers import errors_naming

_SCORES = 1e-5
_VALUES = 1e-5  # of the largest value
LAYOUT: Layout = {
    "tag_k": Entry("K N T", required=True),
    "loc_k": Entry("K N 2", required=True),
    "val_k": Entry("K N", required=True),
    "matched": Entry("p K V", required=True),
    "adjusted": Entry("p K V", required=True),
    "scores": Entry("p", required=True),
    "refined": Entry("p K V", required=True),
    "preds": Entry("p K V", required=True),
    "n_assign": Entry(""),
    "center": Entry("2"),
    "scale": Entry("2"),
    "base_size": Entry("2"),
}
_DRAWN = (("tag", "K N T"), ("loc", "K N 2"), ("val", "K N"), ("people", "p K V"))
_WANTED = (
    *("candidates", "candidate_values", "candidate_tags", "member", "valid"),
    *("keypoints", "person_scores", "refined", "outputs", "heatmaps"),
)


def check_grouping(
    path: pathlib.Path,
    config: HigherHRNetConfig,
    variables: Variables,
    *,
    marks: bool = True,
) -> list[StageResult]:
    """Compare assignments and people; end to end too, where the input is known.

    That is, where the case has the inputs of all scales, or `net_ID.npz` beside it has
    the one of the image that the case is named after.

    Args:
      path: of the case.
      config: settings of the model; options of the test follow from the case.
      variables: of the model.
      marks: hold errors against tolerances.

    Raises:
      ValueError: damaged file, or arrays that are missing or do not fit.
    """
    with errors_naming(path):
        arrays = read_arrays(path)
        sizes = {"K": config.skeleton.num_keypoints}
        arrays = _with_input(path, from_torch(arrays, LAYOUT, sizes))
        inputs = _inputs(arrays)
        config = dataclasses.replace(config, **_options(arrays, config, inputs))
    compare = Comparison(case_name(path), marks=marks)
    _check_assignments(compare, arrays)
    people = _people(arrays["tag_k"], arrays["loc_k"], arrays["val_k"], config)
    _check_equal(compare, "people", people, arrays["matched"], "candidates")
    if inputs:
        _check_whole(compare, arrays, inputs, config, variables)
    return compare.results


def check_drawn(path: pathlib.Path, *, marks: bool = True) -> list[StageResult]:
    """Compare the people of drawn candidates.

    Raises:
      ValueError: damaged file, or an array is missing.
    """
    with errors_naming(path):
        arrays = read_arrays(path)
        compare = Comparison(case_name(path), marks=marks)
        for number in range(int(arrays.get("n_cases", 0))):
            _check_drawn(compare, arrays, number)
        return compare.results


def _check_drawn(compare: Comparison, arrays: Arrays, number: int) -> None:
    layout = {f"{name}_{number}": Entry(axes, required=True) for name, axes in _DRAWN}
    converted = from_torch(arrays, layout, {})
    tags, points, values, expected = (converted[name] for name in layout)
    if len(values) not in KNOWN:
        raise ValueError(f"got {len(values)} keypoints, expected one of {[*KNOWN]}")
    config = HigherHRNetConfig(skeleton=KNOWN[len(values)])
    found = _people(tags, points, values, config)
    _check_equal(compare, f"people {number}", found, expected, "candidates")


def _check_equal(
    compare: Comparison, stage: str, found: Any, expected: Any, fed_with: str
) -> None:
    compare.absolute(
        stage, np.asarray(found), expected, tolerance=0.0, fed_with=fed_with
    )


@functools.partial(jax.jit, static_argnames=("config",))
def _group(values: Any, tags: Any, config: HigherHRNetConfig) -> Any:
    return group(
        values,
        tags,
        order=config.order,
        detection_threshold=config.detection_threshold,
        tag_threshold=config.tag_threshold,
        max_people=config.max_people,
    )


def _people(
    tags: np.ndarray, points: np.ndarray, values: np.ndarray, config: HigherHRNetConfig
) -> np.ndarray:
    """People as the reference has them: `[P, K, (x, y, value, tags)]`."""
    people = jax.device_get(_group(jnp.asarray(values), jnp.asarray(tags), config))
    member = people.member[: people.found]
    kind = np.arange(len(values))
    joints = np.concatenate([points, values[..., None], tags], axis=-1)
    found = joints[kind, member] * (member >= 0)[..., None]
    return found.astype(np.float32)


def _check_assignments(compare: Comparison, arrays: Arrays) -> None:
    """Each assignment by itself, from the reference's costs."""
    numbers = range(int(arrays.get("n_assign", 0)))
    costs = [arrays[f"assign_cost_{number}"] for number in numbers]
    size = max((max(each.shape) for each in costs), default=0)
    with jax.enable_x64(True):
        run = jax.jit(assign)
        found = [_pairs(run, each.astype(np.float64), size) for each in costs]
    if found:
        expected = [arrays[f"assign_pairs_{number}"] for number in numbers]
        pairs = np.concatenate(found), np.concatenate(expected)
        _check_equal(compare, f"{len(found)} assignments", *pairs, "costs")


def _pairs(run: Callable[..., Any], costs: np.ndarray, size: int) -> np.ndarray:
    """Rows and columns that belong together, of costs in the corner of a square."""
    square = np.zeros((size, size))
    square[: costs.shape[0], : costs.shape[1]] = costs
    columns = np.asarray(run(square, np.int32(max(costs.shape))))[: costs.shape[0]]
    rows = np.flatnonzero(columns < costs.shape[1])
    return np.stack([rows, columns[rows]], axis=-1)


def _with_input(path: pathlib.Path, arrays: Arrays) -> Arrays:
    """The case with the input that another one holds."""
    match = re.fullmatch(r"ae_(\d+)(?:_no_flip)?", path.stem)
    other = path.with_name(f"net_{match[1]}.npz") if match else None
    if other is None or not other.is_file():
        return arrays
    wanted = ("input", "center", "scale", "base_size")
    return arrays | {k: v for k, v in read_arrays(other).items() if k in wanted}


def _inputs(arrays: Arrays) -> dict[float, np.ndarray]:
    """Normalised images `[1, H, W, 3]` by scale, the largest first; may be none."""
    images = {
        name: np.moveaxis(array, 1, -1)
        for name, array in arrays.items()
        if re.fullmatch(r"input(_\d+)?", name) and array.ndim == 4
    }
    if not images or "base_size" not in arrays:
        return {}
    width = int(arrays["base_size"][0])
    by_scale = {image.shape[2] / width: image for image in images.values()}
    if 1.0 not in by_scale:
        raise ValueError(f"got inputs {sorted(images)}, expected one of {width} px")
    return dict(sorted(by_scale.items(), reverse=True))


def _options(
    arrays: Arrays, config: HigherHRNetConfig, inputs: dict[float, np.ndarray]
) -> dict[str, Any]:
    """Options that a case was computed with; arrays named as settings tell them."""
    names = [
        field.name
        for field in dataclasses.fields(config)
        if field.metadata.get("test_time") and field.name in arrays
    ]
    return {
        "flip_test": arrays["tag_k"].shape[2] == 2,
        "test_scales": tuple(inputs) or (1.0,),
        **{name: arrays[name].item() for name in names},
    }


def _check_whole(
    compare: Comparison,
    arrays: Arrays,
    inputs: dict[float, np.ndarray],
    config: HigherHRNetConfig,
    variables: Variables,
) -> None:
    """Compare all from the input on."""
    given = {
        "input": inputs[1.0],
        "scaled_input": tuple(inputs[scale] for scale in config.other_scales),
        "valid_size": None,
    }
    walk = StageWalker(make_stages(config), variables)
    found = jax.device_get(walk(given, *_WANTED))
    if "heatmaps_mean" in arrays:
        count = config.skeleton.num_keypoints
        maps = found["heatmaps"][0, ..., :count]
        means = maps.mean(axis=(0, 1), dtype=np.float64)
        _relative(compare, "heatmaps, mean", means, arrays["heatmaps_mean"])
    shown = arrays["val_k"] > config.detection_threshold
    pixels = found["candidates"][0][shown]
    _check_equal(compare, "candidates", pixels, arrays["loc_k"][shown], "input")
    for name, array in (("values", "candidate_values"), ("tags", "candidate_tags")):
        expected = arrays[f"{name[:3]}_k"][shown]
        _relative(compare, f"candidates, {name}", found[array][0][shown], expected)
    valid = found["valid"][0]
    for name, array in (("adjusted", "keypoints"), ("refined", "refined")):
        points, expected = found[array][0][valid], arrays[name]
        compare.keypoints(name, points, expected, fed_with="input")
    poses = found["outputs"]["higherhrnet"]
    compare.absolute(
        "scores",
        poses.scores[0][valid],
        arrays["scores"],
        tolerance=_SCORES,
        fed_with="input",
    )
    points = to_image(poses.keypoints[0][valid], _input_to_image(arrays))
    unit = float(arrays["base_size"][0] / (200 * arrays["scale"][0]))
    compare.keypoints("poses", points, arrays["preds"], fed_with="input", unit=unit)


def _relative(compare: Comparison, stage: str, found: Any, expected: Any) -> None:
    compare.relative(
        stage, np.asarray(found), expected, tolerance=_VALUES, fed_with="input"
    )


def _input_to_image(arrays: Arrays) -> np.ndarray:
    """`x s + c - 200 scale / 2` (specification, 4, step 9)."""
    covered = 200 * arrays["scale"]
    factor = covered / arrays["base_size"]
    offset = arrays["center"] - covered / 2
    return np.concatenate([np.diag(factor), offset[:, None]], axis=1)
