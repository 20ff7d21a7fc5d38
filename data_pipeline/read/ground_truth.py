"""What evaluation compares with: COCO-style annotations of exactly the images read."""

import json
import pathlib
from collections.abc import Collection

from data_pipeline.read import coco
from data_pipeline.read.coco_checks import integer_field


def ground_truth_file(folder: pathlib.Path, split: str) -> pathlib.Path:
    """Find the annotations of `train` or `val`, in either layout."""
    prepared = prepared_ground_truth(folder, split)
    return prepared if prepared.is_file() else coco.annotation_file(folder, split)


def prepared_ground_truth(folder: pathlib.Path, split: str) -> pathlib.Path:
    """Where a prepared data set keeps the annotations of a split."""
    return folder / f"ground_truth_{split}.json"


def write_ground_truth(
    annotations: pathlib.Path, target: pathlib.Path, image_ids: Collection[int]
) -> None:
    """Copy an annotation file's numbers as they are, without segmentations.

    Args:
      annotations: COCO-style JSON; what is not sound in it is in no kept image.
      target: the file to write.
      image_ids: images to keep; their annotations are kept with them.
    """
    content = json.loads(annotations.read_bytes())
    kept = set(image_ids)
    people = [a for a in content["annotations"] if integer_field(a, "image_id") in kept]
    result = {
        "images": [
            image for image in content["images"] if integer_field(image, "id") in kept
        ],
        "annotations": [
            {name: value for name, value in person.items() if name != "segmentation"}
            for person in people
        ],
        "categories": content["categories"],
    }
    target.write_text(json.dumps(result))
