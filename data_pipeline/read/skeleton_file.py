"""The skeleton of one's own data: from its annotations, and a TOML file beside them.

COCO's format names keypoints and limbs but says neither which keypoints mirror each
other nor how precisely people can annotate them. The TOML file does:

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

from logocap_jax.skeletons import Skeleton

_KEYS = ("name", "flip_pairs", "sigmas", "sigmas_from")


def read_skeleton(annotations: pathlib.Path, settings: pathlib.Path) -> Skeleton:
    """Read a skeleton.

    Args:
      annotations: COCO-style JSON; one of its `categories` has `keypoints`, and may
        have a `skeleton`: limbs, as pairs of places in that list, from 1 on.
      settings: the TOML file; `sigmas_from` is relative to its folder.

    Returns:
      The skeleton; its `sigmas_from` says whether sigmas were given or estimated.

    Raises:
      ValueError: if a file is damaged or says what cannot be; names it.
      OSError: if a file is not there.
    """
    content = _read_json(annotations)
    category = _category(content, str(annotations))
    names = category["keypoints"]
    said = _read_settings(settings)
    sigmas, source = _sigmas(said, names, content, annotations, settings)
    return Skeleton(
        name=said["name"],
        keypoints=tuple(names),
        sigmas=tuple(sigmas),
        limbs=_limbs(category, len(names), str(annotations)),
        flip_pairs=_flip_pairs(said.get("flip_pairs"), names, str(settings)),
        sigmas_from=source,
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
    again = {person["id"]: person for person in second}
    sums, counts = np.zeros(num_keypoints), np.zeros(num_keypoints, int)
    for person in first:
        other = again.get(person["id"])
        if other is None or person["area"] <= 0:
            continue
        one, two = (
            np.reshape(each["keypoints"], (num_keypoints, 3)).astype(np.float64)
            for each in (person, other)
        )
        both = (one[:, 2] > 0) & (two[:, 2] > 0)
        squared_distances = np.square(one[:, :2] - two[:, :2]).sum(axis=1)
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


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: got no JSON: {error!s:.200}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: got no object, expected COCO-style JSON")
    return content


def _category(content: dict[str, Any], source: str) -> dict[str, Any]:
    categories = content.get("categories")
    listed = categories if isinstance(categories, list) else []
    found = [each for each in listed if isinstance(each, dict) and "keypoints" in each]
    if len(found) != 1:
        raise ValueError(
            f"{source}: got {len(found)} `categories` with `keypoints`, expected one"
        )
    names = found[0]["keypoints"]
    sound = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not sound or not names or len(set(names)) < len(names):
        raise ValueError(
            f"{source}: got keypoints {names!r:.80} in `categories`, expected names, "
            "each once"
        )
    return found[0]


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
    return tuple((one - 1, other - 1) for one, other in limbs)


def _read_settings(path: pathlib.Path) -> dict[str, Any]:
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: got no TOML: {error!s:.200}") from error
    unknown = [key for key in said if key not in _KEYS]
    if unknown:
        raise ValueError(f"{path}: got {unknown[0]!r}, expected {', '.join(_KEYS)}")
    if not isinstance(said.get("name"), str) or not said["name"]:
        raise ValueError(f"{path}: got name {said.get('name')!r}, expected a text")
    if ("sigmas" in said) == ("sigmas_from" in said):
        raise ValueError(
            f"{path}: got sigmas={said.get('sigmas')!r:.40}, "
            f"sigmas_from={said.get('sigmas_from')!r:.40}, expected one of the two"
        )
    return said


def _flip_pairs(
    pairs: Any, names: list[str], source: str
) -> tuple[tuple[int, int], ...] | None:
    if pairs is None:
        return None
    seen: set[str] = set()
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        both = pair if isinstance(pair, list) else []
        known = all(name in names and name not in seen for name in both)
        if len(both) != 2 or not known or both[0] == both[1]:
            raise ValueError(
                f"{source}: got flip pair {pair!r:.60}, expected two keypoints of "
                f"{', '.join(names)}, each in one pair only"
            )
        seen |= set(both)
    return tuple((names.index(one), names.index(other)) for one, other in pairs)


def _sigmas(
    said: dict[str, Any],
    names: list[str],
    content: dict[str, Any],
    annotations: pathlib.Path,
    settings: pathlib.Path,
) -> tuple[list[float], str]:
    """The sigmas, and where they come from."""
    if "sigmas_from" in said:
        again = settings.parent / str(said["sigmas_from"])
        try:
            sigmas = estimate_sigmas(
                content["annotations"],
                _read_json(again)["annotations"],
                num_keypoints=len(names),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{annotations} and {again}: got annotations without {error!s:.60}, "
                "expected the same people annotated twice"
            ) from error
        except ValueError as error:
            raise ValueError(f"{annotations} and {again}: {error}") from error
        return sigmas.tolist(), f"estimated from {again.name}"
    given = said["sigmas"]
    if isinstance(given, dict) and given.keys() == set(names):
        values = [given[name] for name in names]
    elif isinstance(given, dict):
        name = sorted(given.keys() ^ set(names))[0]
        raise ValueError(
            f"{settings}: got sigmas of {len(given)} keypoints, {name!r} being in one "
            f"of the files only, expected one for each of {', '.join(names)}"
        )
    else:
        values = [given] * len(names)
    if not all(type(value) in (int, float) and 0 < value <= 1 for value in values):
        raise ValueError(
            f"{settings}: got sigmas {given!r:.60}, expected numbers above 0 up to 1"
        )
    return values, "given"
