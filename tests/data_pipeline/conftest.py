import json
import pathlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from logocap_jax import skeletons

Content = dict[str, Any]
Writer = Callable[..., pathlib.Path]


def person(number: int, image_id: int) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    points = np.concatenate(
        [rng.integers(0, 40, size=(17, 2)), np.full((17, 1), 2)], axis=1
    )
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "area": 1200.5,
        "bbox": [1, 2, 30, 40],
        "num_keypoints": 17,
        "keypoints": points.ravel().tolist(),
    }


def coco_content(num_images: int) -> Content:
    """Images 1, 2, ... of 64x48, each with one person of the same id."""
    numbers = range(1, num_images + 1)
    images = [
        {"id": n, "file_name": f"{n:03}.jpg", "width": 64, "height": 48}
        for n in numbers
    ]
    category = {"id": 1, "name": "person", "keypoints": list(skeletons.COCO.keypoints)}
    return {
        "images": images,
        "annotations": [person(n, image_id=n) for n in numbers],
        "categories": [category],
    }


@pytest.fixture
def write_coco(tmp_path: pathlib.Path) -> Writer:
    """Writes `train` and `val` in COCO's layout; `edit` changes the annotations."""

    def write(
        edit: Callable[[Content], None] = lambda content: None, num_images: int = 3
    ) -> pathlib.Path:
        root = tmp_path / "coco"
        (root / "annotations").mkdir(parents=True)
        for split in ("train2017", "val2017"):
            content = coco_content(num_images)
            folder = root / split
            folder.mkdir()
            for image in content["images"]:
                rng = np.random.default_rng(image["id"])
                pixels = rng.integers(0, 255, size=(48, 64, 3), dtype=np.uint8)
                assert cv2.imwrite(str(folder / image["file_name"]), pixels)
            edit(content)
            path = root / "annotations" / f"person_keypoints_{split}.json"
            path.write_text(json.dumps(content))
        return root

    return write
