"""Data set: drawn people, or what else, in the folders and files of COCO 2017."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from data_pipeline.drawn.coco_json import annotation_record, person_category
from data_pipeline.drawn.scene import MIN_SIZE, Scene, draw_scene

# Raise it with every change that alters a pixel or a number of the data set.
VERSION = 1
_SPLITS = ("train", "val")
_RECEIPT = "drawn.json"
# More than the annotations that any scene has.
_ANNOTATIONS_PER_IMAGE = 100


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is drawn.

    Attributes:
      name: of the data set.
      draw: generator, pixels of either side -> scene.
      category: its entry of `categories`.
      skeleton: content of a `skeleton.toml`; None: the keypoints are COCO's.
    """

    name: str
    draw: Callable[[np.random.Generator, int], Scene]
    category: dict[str, Any]
    skeleton: str | None = None


PEOPLE = Subject("people", draw_scene, person_category())


def write_drawn_dataset(
    out: Path,
    *,
    num_train: int,
    num_val: int,
    size: int,
    seed: int,
    progress: bool = True,
    subject: Subject = PEOPLE,
) -> None:
    """Write a COCO-format keypoint data set of drawn people, or of another subject.

    Image `i` of a split depends on the seed, the split and `i` alone. The folder
    appears under its name only when it is complete; one that is complete already,
    with the same parameters, is left as it is.

    Args:
      out: folder to write: `train2017/`, `val2017/` and
        `annotations/person_keypoints_{train,val}2017.json`.
      num_train: number of training images.
      num_val: number of validation images.
      size: pixels of either side of the images, at least 96.
      seed: not negative; another seed draws other images.
      progress: whether to show progress bars.
      subject: what to draw.

    Raises:
      ValueError: if a parameter is out of its range, or if `out` holds anything but a
        complete data set with these parameters.
    """
    parameters = {"num_train": num_train, "num_val": num_val, "seed": seed}
    for name, value in parameters.items():
        if value < 0:
            raise ValueError(f"got {name}={value}, expected 0 or more")
    if size < MIN_SIZE:
        raise ValueError(f"got size={size}, expected {MIN_SIZE} pixels or more")
    out = out.resolve()  # "." has no parent to write beside
    receipt: dict[str, Any] = {"version": VERSION, **parameters, "size": size}
    if subject is not PEOPLE:
        receipt["subject"] = subject.name
    if _is_complete(out, receipt):
        print(f"{out}: complete already, nothing to draw")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        unfinished = Path(scratch) / out.name
        (unfinished / "annotations").mkdir(parents=True)
        for split, count in zip(_SPLITS, (num_train, num_val), strict=True):
            _write_split(
                *(unfinished, split, count, subject),
                size=size,
                seed=seed,
                progress=progress,
            )
        if subject.skeleton is not None:
            (unfinished / "skeleton.toml").write_text(subject.skeleton)
        (unfinished / _RECEIPT).write_text(json.dumps(receipt) + "\n")
        os.replace(unfinished, out)


def _is_complete(out: Path, receipt: dict[str, Any]) -> bool:
    """Whether `out` holds what is asked for; raises if it holds anything else."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise ValueError(f"{out}: got a file, expected a folder; choose another name")
    if not any(out.iterdir()):
        return False
    path = out / _RECEIPT
    found = path.read_text().strip() if path.exists() else f"no {_RECEIPT}"
    if found != json.dumps(receipt):
        raise ValueError(
            f"{out}: got a folder with other content ({found}), expected a new one, "
            f"an empty one or {json.dumps(receipt)}; remove it or choose another name"
        )
    return True


def _write_split(
    root: Path,
    split: str,
    count: int,
    subject: Subject,
    *,
    size: int,
    seed: int,
    progress: bool,
) -> None:
    folder = root / f"{split}2017"
    folder.mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    split_id = _SPLITS.index(split)
    for index in tqdm(range(count), f"drawing {split}", disable=not progress):
        scene = subject.draw(np.random.default_rng([seed, split_id, index]), size)
        # Odd and even: no id is in both splits, however many images there are.
        image_id = len(_SPLITS) * index + split_id + 1
        name = f"{image_id:012d}.jpg"
        _, jpeg = cv2.imencode(
            ".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92]
        )
        (folder / name).write_bytes(jpeg.tobytes())
        images.append(
            {"id": image_id, "file_name": name, "width": size, "height": size}
        )
        annotations += [
            annotation_record(
                annotation,
                image_id=image_id,
                annotation_id=_ANNOTATIONS_PER_IMAGE * image_id + number,
                category_id=subject.category["id"],
            )
            for number, annotation in enumerate(scene.annotations)
        ]
    content = {
        "info": {"description": f"Drawn {subject.name}", "version": str(VERSION)},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [subject.category],
    }
    path = root / "annotations" / f"person_keypoints_{split}2017.json"
    path.write_text(json.dumps(content))
