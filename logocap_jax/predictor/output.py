"""Poses of many images into files: overlays, COCO results, a table."""

import csv
import io
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from logocap_jax.atomic import replacing
from logocap_jax.evaluation.results import write_json
from logocap_jax.predictor.poses import Poses
from logocap_jax.visualization.overlay import write_image


class Output:
    """Where poses go; leaving the context writes the files, also after Ctrl-C.

    Attributes:
      num_images: images so far.
      num_people: people so far.
    """

    def __init__(
        self,
        folder: Path | None = None,
        json_file: Path | None = None,
        csv_file: Path | None = None,
        *,
        initial: bool = False,
    ) -> None:
        """Write nothing yet.

        Args:
          folder: for the drawn poses, one PNG per image; made if need be.
          json_file: for COCO keypoint results. An image's id is the number in its
            name if all images are named by different numbers, else its position from 1
            on; `file_name` tells them apart in any case.
          csv_file: for a table with a row per pose.
          initial: draw the poses before refinement, too.
        """
        self.num_images = self.num_people = 0
        self._folder, self._json, self._csv = folder, json_file, csv_file
        self._initial = initial
        self._found: list[tuple[Path, Poses]] = []
        self._names: set[str] = set()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, path: Path, image: UInt8[np.ndarray, "H W 3"], poses: Poses) -> None:
        """Take the poses of an image; draws them at once."""
        self.num_images += 1
        self.num_people += len(poses)
        self._found.append((path, poses))
        if self._folder is not None:
            drawn = poses.draw(image, initial=self._initial)
            write_image(self._folder / self._name(path), drawn)

    def _name(self, path: Path) -> str:
        """The image's name; a number follows where two folders have the same."""
        name, count = f"{path.stem}.png", 1
        while name in self._names:
            count += 1
            name = f"{path.stem}_{count}.png"
        self._names.add(name)
        return name

    def __enter__(self) -> "Output":
        """Nothing to set up."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what was taken so far."""
        if self._json is not None:
            write_json(self._json, _coco_results(self._found))
        if self._csv is not None:
            _write_csv(self._csv, self._found)


def _coco_results(found: list[tuple[Path, Poses]]) -> list[dict[str, Any]]:
    stems = [path.stem for path, _ in found]
    numbered = all(stem.isdecimal() for stem in stems)
    numbers = [int(stem) for stem in stems] if numbered else []
    if len(set(numbers)) != len(stems):
        numbers = list(range(1, len(stems) + 1))
    return [
        result | {"file_name": path.name}
        for number, (path, poses) in zip(numbers, found, strict=True)
        for result in poses.to_coco(number)
    ]


def _write_csv(path: Path, found: list[tuple[Path, Poses]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if found:
        names = found[0][1].skeleton.keypoints
        columns = [f"{name}_{axis}" for name in names for axis in ("x", "y", "score")]
        writer.writerow(["file", "pose", "score", *columns])
    for file, poses in found:
        for number, score in enumerate(poses.scores):
            points, scores = poses.keypoints[number], poses.keypoint_scores[number]
            triplets = np.column_stack([points, scores]).ravel()
            writer.writerow([str(file), number, float(score), *map(float, triplets)])
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
