"""Where poses of a data set are wrong: AP of parts of it, and kinds of errors."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from logocap_jax.evaluation.analysis import (
    KINDS,
    classify_keypoints,
    keypoint_similarities,
    precision_by_keypoint,
)
from logocap_jax.evaluation.checks import check_results
from logocap_jax.evaluation.matching import mean_where_known, score_poses
from logocap_jax.evaluation.protocol import format_percent
from logocap_jax.skeletons import Skeleton
from logocap_jax.tables import format_table

# Square roots of people's areas, image px; the limits are those of Ronchi and Perona.
SIZES = {
    "<32": (0.0, 32.0),
    "32-64": (32.0, 64.0),
    "64-96": (64.0, 96.0),
    "96-128": (96.0, 128.0),
    ">128": (128.0, 1e5),
}
# Least and largest number of people in an image.
CROWDS = {"1": (1, 1), "2": (2, 2), "3-5": (3, 5), ">5": (6, 10**6)}

_ANY_SIZE = (0.0, 1e10)


@dataclasses.dataclass(frozen=True)
class ErrorReport:
    """Errors of one result set. AP is 0..1, None where nobody is to be found."""

    ap: float | None  #: of all images
    by_size: dict[str, float | None]  #: AP by the area of people, `SIZES`
    #: AP by the number of labelled people in an image, `CROWDS`.
    by_people: dict[str, float | None]
    #: AP of each keypoint alone; see `analysis.precision_by_keypoint`.
    by_keypoint: dict[str, float | None]
    #: By keypoint, counts of each of `analysis.KINDS` in matched poses.
    kinds: dict[str, dict[str, int]]
    people: int  #: number to find
    people_missed: int  #: number of these without a pose
    poses: int  #: number that count
    poses_unmatched: int  #: number of these without a person

    def share_of(self, keypoint: str, kind: str) -> float | None:
        """Share of a kind among a keypoint's occurrences in matched poses, 0..1."""
        total = sum(self.kinds[keypoint].values())
        return self.kinds[keypoint][kind] / total if total else None

    def shares(self) -> dict[str, float | None]:
        """Share of each kind among all keypoints of matched poses, 0..1."""
        counts = {
            kind: sum(of_keypoint[kind] for of_keypoint in self.kinds.values())
            for kind in KINDS
        }
        total = sum(counts.values())
        return {kind: n / total if total else None for kind, n in counts.items()}


@dataclasses.dataclass(frozen=True)
class _Match:
    """A pose that counts, and the index of its person among those of the image."""

    pose: dict[str, Any]
    people: list[dict[str, Any]]
    person: int | None


def report_errors(
    truth: dict[str, Any],
    results: list[dict[str, Any]],
    skeleton: Skeleton,
    *,
    image_ids: Sequence[int],
    match_from: float = 0.1,
) -> ErrorReport:
    """Analyse one result set, of each image the 20 best-scored poses.

    `truth` is checked COCO annotations with areas; `match_from` is the least OKS of a
    match between pose and person (the paper's).

    Raises:
      ValueError: if a result is damaged; see `checks.check_results`.
    """
    check_results(results, truth, num_keypoints=skeleton.num_keypoints)

    def score(images: Sequence[int], **options: Any) -> Any:
        options = {"sigmas": skeleton.sigmas, "image_ids": images} | options
        return score_poses(truth, results, **options)

    sizes = [(low**2, high**2) for low, high in SIZES.values()]
    scored = score(image_ids, area_ranges=[_ANY_SIZE, *sizes])
    precision = scored.eval["precision"]  # [T, R, 1, A, 1]
    by_area = [
        mean_where_known(precision[:, :, :, area]) for area in range(len(sizes) + 1)
    ]
    groups = _images_by_people(truth, image_ids)
    by_people = {
        name: mean_where_known(score(images, area_ranges=[_ANY_SIZE]).eval["precision"])
        if images
        else None
        for name, images in groups.items()
    }
    matching = score(image_ids, thresholds=[match_from], area_ranges=[_ANY_SIZE])
    matches = list(_matches(matching, results))
    analysed = set(image_ids)
    people = [
        person for person in _people_to_find(truth) if person["image_id"] in analysed
    ]
    found = sum(match.person is not None for match in matches)
    return ErrorReport(
        ap=by_area[0],
        by_size=dict(zip(SIZES, by_area[1:], strict=True)),
        by_people=by_people,
        by_keypoint=_by_keypoint(matches, people, skeleton, scored.params.iouThrs),
        kinds=_kinds(matches, skeleton),
        people=len(people),
        people_missed=len(people) - found,
        poses=len(matches),
        poses_unmatched=len(matches) - found,
    )


def _people_to_find(truth: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        person
        for person in truth["annotations"]
        if person["num_keypoints"] > 0 and not person["iscrowd"]
    ]


def _images_by_people(
    truth: dict[str, Any], image_ids: Sequence[int]
) -> dict[str, list[int]]:
    counts = collections.Counter(
        person["image_id"] for person in _people_to_find(truth)
    )
    return {
        name: [image for image in image_ids if low <= counts[image] <= high]
        for name, (low, high) in CROWDS.items()
    }


def _matches(scoring: Any, results: list[dict[str, Any]]) -> Iterator[_Match]:
    """Poses that count, with the people of their image."""
    for image in scoring.evalImgs:
        if image is None:
            continue
        people = [
            scoring.cocoGt.anns[number]
            for number in image["gtIds"]
            if not scoring.cocoGt.anns[number]["iscrowd"]
        ]
        index = {person["id"]: position for position, person in enumerate(people)}
        for number, ignored, match in zip(
            image["dtIds"], image["dtIgnore"][0], image["dtMatches"][0], strict=True
        ):
            if not ignored:
                yield _Match(results[number - 1], people, index.get(int(match)))


def _kinds(matches: Sequence[_Match], skeleton: Skeleton) -> dict[str, dict[str, int]]:
    counts = np.zeros((skeleton.num_keypoints, len(KINDS)), int)
    for match in matches:
        if match.person is None:
            continue
        people = np.array([each["keypoints"] for each in match.people], np.float64)
        people = people.reshape(len(people), skeleton.num_keypoints, 3)
        kinds = classify_keypoints(
            _points(match.pose),
            people[:, :, :2],
            people[:, :, 2] > 0,
            np.array([each["area"] for each in match.people], np.float64),
            person=match.person,
            sigmas=np.asarray(skeleton.sigmas),
            flip_index=skeleton.flip_index,
        )
        (known,) = np.nonzero(kinds >= 0)
        counts[known, kinds[known]] += 1
    return {
        name: dict(zip(KINDS, row, strict=True))
        for name, row in zip(skeleton.keypoints, counts.tolist(), strict=True)
    }


def _by_keypoint(
    matches: Sequence[_Match],
    people: Sequence[Mapping[str, Any]],
    skeleton: Skeleton,
    thresholds: np.ndarray,
) -> dict[str, float | None]:
    similarities = np.zeros((len(matches), skeleton.num_keypoints))
    for row, match in zip(similarities, matches, strict=True):
        if match.person is not None:
            person = match.people[match.person]
            triplets = np.reshape(person["keypoints"], (-1, 3)).astype(np.float64)
            (near,) = keypoint_similarities(
                _points(match.pose),
                triplets[None, :, :2],
                np.array([person["area"]], np.float64),
                np.asarray(skeleton.sigmas),
            )
            row[:] = np.where(triplets[:, 2] > 0, near, np.nan)
    labels = [np.array(each["keypoints"][2::3]) > 0 for each in people]
    values = precision_by_keypoint(
        similarities,
        np.array([match.pose["score"] for match in matches], np.float64),
        np.sum(labels, axis=0, dtype=int),
        thresholds,
    )
    return dict(zip(skeleton.keypoints, values, strict=True))


def _points(pose: Mapping[str, Any]) -> np.ndarray:
    return np.reshape(pose["keypoints"], (-1, 3))[:, :2].astype(np.float64)


Reports = Mapping[str, ErrorReport]


def format_reports(reports: Reports) -> str:
    """Lay out error reports as plain text, numbers in percent but for counts.

    The first table has a column per result set, in the given order; the second a row
    per keypoint.
    """
    parts = (_summary_rows(reports), _keypoint_rows(reports))
    return "\n\n".join(format_table(list(rows), min_width=6) for rows in parts)


def _summary_rows(reports: Reports) -> Iterator[list[str]]:
    columns = list(reports.values())
    yield ["", *reports]
    yield ["AP", *(format_percent(report.ap) for report in columns)]
    yield ["people to find", *(str(report.people) for report in columns)]
    yield ["  without a pose", *(str(report.people_missed) for report in columns)]
    yield ["poses", *(str(report.poses) for report in columns)]
    yield ["  that are nobody's", *(str(report.poses_unmatched) for report in columns)]
    for title, parts in (
        ("AP by square root of area, px", [report.by_size for report in columns]),
        ("AP by people in the image", [report.by_people for report in columns]),
        ("keypoints of found people", [report.shares() for report in columns]),
    ):
        yield [title]
        for name in parts[0]:
            yield [f"  {name}", *(format_percent(part[name]) for part in parts)]


def _keypoint_rows(reports: Reports) -> Iterator[list[str]]:
    titles = ["AP", *KINDS[1:]]
    yield ["", *(cell for name in reports for cell in [name, *[""] * (len(KINDS) - 1)])]
    yield ["", *titles * len(reports)]
    columns = list(reports.values())
    for name in columns[0].kinds:
        cells = [
            value
            for report in columns
            for value in [
                report.by_keypoint[name],
                *(report.share_of(name, kind) for kind in KINDS[1:]),
            ]
        ]
        yield [name, *map(format_percent, cells)]
