"""The skeleton of a data set: the one place that all else asks.

The output of `logocap prepare` holds it; public data sets have that of their layout.
For data of one's own, their annotations hold it, and a TOML file beside the folder of
annotations, `skeleton.toml`. COCO's format names keypoints and limbs but says neither
which keypoints mirror each other nor how precisely people can annotate them.

    name = "horse"
    flip_pairs = [["left_ear", "right_ear"], ["left_hoof", "right_hoof"]]

    sigmas = 0.05                    # of all keypoints, or
    # sigmas_from = "again.json"     # estimated from a second annotation, or
    # [sigmas]                       # of each
    # nose = 0.026
"""

import json
import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from data_pipeline.read.coco import AnnotationFile
from data_pipeline.read.coco_checks import (
    check_parts,
    keypoint_annotations,
    keypoint_category,
)
from data_pipeline.read.layouts import COCO, SPLITS, Layout, find_layout, is_prepared
from logocap_jax.skeletons import Skeleton, parse_skeleton

SETTINGS_FILE = "skeleton.toml"
_METADATA_FILE = "metadata.json"  # TFDS's name
_KEYS = ("name", "flip_pairs", "sigmas", "sigmas_from")


def find_skeleton(
    folder: pathlib.Path, annotations: AnnotationFile | None = None
) -> Skeleton:
    """Find the skeleton of a data set, prepared or in a layout of `layouts`.

    An open file of annotations is not read again.

    Raises:
      ValueError: if it is no data set, or a file is missing, damaged or says what
        cannot be.
    """
    if is_prepared(folder):
        return _read_metadata(folder)
    layout, path = _first_split(folder)
    settings = folder / SETTINGS_FILE
    if not settings.is_file():
        return layout.skeleton
    if annotations is None or annotations.path != path:
        annotations = AnnotationFile(path)
    return read_skeleton(annotations, settings)


def _first_split(folder: pathlib.Path) -> tuple[Layout, pathlib.Path]:
    """Layout and annotations of the first split that is there."""
    for split in (*SPLITS, *COCO.unlabelled):
        layout = find_layout(folder, split)
        if split in layout.annotations:
            path = layout.annotation_file(folder, split)
            if path.is_file():
                return layout, path
    raise ValueError(
        f"{folder}: got neither a prepared data set nor COCO's layout, expected the "
        f"output of `logocap prepare` or {COCO.annotation_file(folder, 'train')}"
    )


def _read_metadata(folder: pathlib.Path) -> Skeleton:
    path = folder / _METADATA_FILE
    try:
        return parse_skeleton(json.loads(path.read_bytes())["skeleton"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: got a data set of another kind, of an earlier version or "
            "damaged, expected the output of `logocap prepare`; prepare it again: "
            f"{path.name}: {error!s:.120}"
        ) from error


def read_skeleton(annotations: AnnotationFile, settings: pathlib.Path) -> Skeleton:
    """Read the skeleton of one's own data.

    Args:
      annotations: COCO-style JSON; one of its `categories` has `keypoints`, and may
        have a `skeleton`: limbs, as pairs of places in that list, from 1 on.
      settings: the TOML file; `sigmas_from` is relative to its folder.

    Raises:
      ValueError: if a file is missing, damaged or says what cannot be; names it.
      OSError: if there are no settings.
    """
    source = str(annotations.path)
    content = annotations.content
    check_parts(content, ("annotations", "categories"), source)
    category = keypoint_category(content["categories"], source)
    names = category["keypoints"]
    toml = _read_settings(settings)
    if "sigmas_from" in toml:
        second = AnnotationFile(settings.parent / str(toml["sigmas_from"]))
        people = keypoint_annotations(content, category)
        sigmas = _estimated_sigmas(people, second, len(names), source)
        sigmas_from = f"estimated from {second.path.name}"
    else:
        sigmas = _given_sigmas(toml["sigmas"], names, str(settings))
        sigmas_from = "given"
    return Skeleton(
        name=toml["name"],
        keypoints=tuple(names),
        sigmas=tuple(sigmas),
        limbs=_limbs(category, len(names), source),
        flip_pairs=_flip_pairs(toml.get("flip_pairs"), names, str(settings)),
        sigmas_from=sigmas_from,
    )


def estimate_sigmas(
    first: Sequence[Mapping[str, Any]],
    second: Sequence[Mapping[str, Any]],
    *,
    num_keypoints: int,
    min_pairs: int = 10,
) -> Float[np.ndarray, " K"]:
    """Standard deviations of annotators, from people who were annotated twice.

    COCO's definition (cocodataset.org, keypoints-eval): `s_k^2 = E[d^2 / area]`, with
    `d` the distance of an annotation from the truth. Two annotations that err
    independently are twice that squared distance apart.

    Args:
      first: annotations with `id`, `area` and `keypoints`, image px.
      second: annotations of the same ids; people who are missing here do not count.
      num_keypoints: K.
      min_pairs: how many people must have a keypoint labelled twice.

    Raises:
      ValueError: if fewer have, or all annotations of a keypoint are the same.
    """
    second_of = {person["id"]: person for person in second}
    sums, counts = np.zeros(num_keypoints), np.zeros(num_keypoints, int)
    for person in first:
        repeated = second_of.get(person["id"])
        if repeated is None or person["area"] <= 0:
            continue
        a, b = (
            np.reshape(annotation["keypoints"], (num_keypoints, 3)).astype(np.float64)
            for annotation in (person, repeated)
        )
        both = (a[:, 2] > 0) & (b[:, 2] > 0)
        squared_distances = np.square(a[:, :2] - b[:, :2]).sum(axis=1)
        sums += np.where(both, squared_distances / person["area"], 0.0)
        counts += both
    if counts.min(initial=min_pairs) < min_pairs:
        raise ValueError(
            f"keypoint {int(counts.argmin())}: got {counts.min()} people who have it "
            f"labelled twice, expected {min_pairs} or more"
        )
    sigmas = np.sqrt(sums / counts / 2)
    if not sigmas.all():
        raise ValueError(
            f"keypoint {int(sigmas.argmin())}: got the same annotation twice for all "
            "people, expected two independent ones"
        )
    return sigmas


def _limbs(
    category: dict[str, Any], num_keypoints: int, source: str
) -> tuple[tuple[int, int], ...]:
    limbs = category.get("skeleton", [])
    for limb in limbs if isinstance(limbs, list) else [limbs]:
        places = limb if isinstance(limb, list) else []
        if len(places) != 2 or not all(
            type(place) is int and 1 <= place <= num_keypoints for place in places
        ):
            raise ValueError(
                f"{source}: got limb {limb!r:.40} in `skeleton`, expected two places "
                f"from 1 to {num_keypoints}"
            )
    return tuple((a - 1, b - 1) for a, b in limbs)


def _read_settings(path: pathlib.Path) -> dict[str, Any]:
    try:
        toml = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: got no TOML: {error!s:.200}") from error
    unknown = [key for key in toml if key not in _KEYS]
    if unknown:
        raise ValueError(f"{path}: got {unknown[0]!r}, expected {', '.join(_KEYS)}")
    if not isinstance(toml.get("name"), str) or not toml["name"]:
        raise ValueError(f"{path}: got name {toml.get('name')!r}, expected a text")
    if ("sigmas" in toml) == ("sigmas_from" in toml):
        raise ValueError(
            f"{path}: got sigmas={toml.get('sigmas')!r:.40}, "
            f"sigmas_from={toml.get('sigmas_from')!r:.40}, expected one of the two"
        )
    return toml


def _flip_pairs(
    pairs: Any, names: list[str], source: str
) -> tuple[tuple[int, int], ...] | None:
    if pairs is None:
        return None
    seen: set[str] = set()
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        both = pair if isinstance(pair, list) else []
        are_free = all(name in names and name not in seen for name in both)
        if len(both) != 2 or not are_free or both[0] == both[1]:
            raise ValueError(
                f"{source}: got flip pair {pair!r:.60}, expected two keypoints of "
                f"{', '.join(names)}, each in one pair only"
            )
        seen |= set(both)
    return tuple((names.index(a), names.index(b)) for a, b in pairs)


def _estimated_sigmas(
    people: list[Any], second: AnnotationFile, num_keypoints: int, source: str
) -> list[float]:
    check_parts(second.content, ("annotations",), str(second.path))
    files = f"{source} and {second.path}"
    try:
        sigmas = estimate_sigmas(
            people, second.content["annotations"], num_keypoints=num_keypoints
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{files}: got annotations without {error!s:.60}, expected the same people "
            "annotated twice"
        ) from error
    except ValueError as error:
        raise ValueError(f"{files}: {error}") from error
    return sigmas.tolist()


def _given_sigmas(given: Any, names: list[str], source: str) -> list[float]:
    if isinstance(given, dict) and given.keys() == set(names):
        values = [given[name] for name in names]
    elif isinstance(given, dict):
        name = sorted(given.keys() ^ set(names))[0]
        raise ValueError(
            f"{source}: got sigmas of {len(given)} keypoints, {name!r} being in one "
            f"of the files only, expected one for each of {', '.join(names)}"
        )
    else:
        values = [given] * len(names)
    if not all(type(value) in (int, float) and 0 < value <= 1 for value in values):
        raise ValueError(
            f"{source}: got sigmas {given!r:.60}, expected numbers above 0 up to 1"
        )
    return values
