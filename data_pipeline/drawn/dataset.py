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
from jaxtyping import Bool
from tqdm import tqdm

from data_pipeline.drawn.scene import MIN_SIZE, Annotation, Scene, draw_scene
from logocap_jax.skeletons import COCO

# Raise it with every change that alters a pixel or a number of the data set.
VERSION = 1
_SPLITS = ("train", "val")
_RECEIPT = "drawn.json"
# More than the annotations that any scene has.
_ANNOTATIONS_PER_IMAGE = 100
PERSON = 1
_FINE = 4  # Contours run through pixel centres; finer pixels bring them to the edges.


@dataclasses.dataclass(frozen=True)
class Subject:
    """The kind of beings that are drawn."""

    name: str  #: of the data set
    #: Generator, pixels of either side -> scene.
    draw: Callable[[np.random.Generator, int], Scene]
    category: dict[str, Any]  #: its entry of `categories`
    #: Content of a `skeleton.toml`; None: the keypoints are COCO's.
    skeleton: str | None = None


def person_category() -> dict[str, Any]:
    """The one entry of `categories`; its skeleton counts keypoints from 1."""
    return {
        "supercategory": "person",
        "id": PERSON,
        "name": "person",
        "keypoints": list(COCO.keypoints),
        "skeleton": [[a + 1, b + 1] for a, b in COCO.limbs],
    }


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
      progress: show progress bars.
      subject: kind of beings to draw.

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
    """`out` holds the data set already; raises if it holds anything else."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise ValueError(f"{out}: got a file, expected a folder; choose another name")
    if not any(out.iterdir()):
        return False
    path = out / _RECEIPT
    content = path.read_text().strip() if path.exists() else f"no {_RECEIPT}"
    if content != json.dumps(receipt):
        raise ValueError(
            f"{out}: got a folder with other content ({content}), expected a new one, "
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


def annotation_record(
    annotation: Annotation, *, image_id: int, annotation_id: int, category_id: int
) -> dict[str, Any]:
    """Make one entry of `annotations`.

    `area` and `bbox` are those of the visible mask, in image pixels; the segmentation
    is polygons, for a crowd uncompressed run lengths.
    """
    mask = annotation.mask
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return {
        "segmentation": run_lengths(mask) if annotation.is_crowd else polygons(mask),
        "num_keypoints": annotation.num_keypoints,
        "area": float(np.count_nonzero(mask)),
        "iscrowd": int(annotation.is_crowd),
        "keypoints": [
            int(value) if value.is_integer() else value
            for value in annotation.keypoints.ravel().tolist()
        ],
        "image_id": image_id,
        "bbox": [float(x), float(y), float(width), float(height)],
        "category_id": category_id,
        "id": annotation_id,
    }


def run_lengths(mask: Bool[np.ndarray, "H W"]) -> dict[str, list[int]]:
    """Encode a mask as COCO's uncompressed run lengths.

    `counts` are the runs of 0, 1, 0, .. down the columns, `size` is H, W.
    """
    flat = np.concatenate([[False], mask.ravel(order="F")])
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(starts, prepend=0, append=mask.size)
    return {"counts": counts.tolist(), "size": list(mask.shape)}


def polygons(mask: Bool[np.ndarray, "H W"]) -> list[list[float]]:
    """Outline a mask, one `[x, y, x, y, ..]` per piece; pixels, 0 at the image's edge.

    COCO's polygons have no holes, so a mask is cut in two through each of its holes.
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    part = mask[y : y + height, x : x + width].astype(np.uint8)
    fine = part.repeat(_FINE, axis=0).repeat(_FINE, axis=1)
    contours, tree = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    hole = next((i for i in range(len(contours)) if tree[0, i, 3] >= 0), None)
    if hole is not None:
        corners = contours[hole][:, 0, 0]
        cut = x + int(corners.min() + corners.max()) // (2 * _FINE)
        left, right = mask.copy(), mask.copy()
        left[:, cut:], right[:, :cut] = False, False
        return polygons(left) + polygons(right)
    simple = (cv2.approxPolyDP(contour, _FINE / 2, True) for contour in contours)
    edges = [(contour[:, 0] + 0.5) / _FINE for contour in simple if len(contour) > 2]
    corner = np.array([x, y])
    return [np.round(corner + edge, 2).ravel().tolist() for edge in edges]
