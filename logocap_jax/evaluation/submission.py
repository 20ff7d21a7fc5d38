"""The file that COCO's evaluation server takes."""

import io
import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from logocap_jax.atomic import replacing
from logocap_jax.evaluation.results import ImagePoses, to_coco


def check_algorithm_name(name: str) -> None:
    """Check what a submission calls the algorithm.

    Raises:
      ValueError: unless it can be part of the file's name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name):
        raise ValueError(
            f"got algorithm name {name!r:.60}, expected letters, digits, '.' and '-'"
        )


def write_submission(
    folder: Path,
    poses: Iterable[ImagePoses],
    *,
    algorithm: str,
    test_set: str = "test-dev2017",
) -> Path:
    """Write poses as COCO's server asks for keypoints, all of it or nothing.

    A zip of one JSON file with the same name. Coordinates are rounded to a hundredth of
    a pixel (COCO recommends a tenth, to keep files small) and scores to six digits.

    Args:
      folder: where to write; an old file is replaced.
      poses: image by image, image px.
      algorithm: name of the method.
      test_set: as COCO calls it.

    Returns:
      The file, `person_keypoints_<test set>_<algorithm>_results.zip`.

    Raises:
      ValueError: if the name cannot be part of a file's, or a pose has a number that
        is NaN or infinite.
    """
    check_algorithm_name(algorithm)
    stem = f"person_keypoints_{test_set}_{algorithm}_results"
    results = [
        {
            "image_id": result["image_id"],
            "category_id": result["category_id"],
            "keypoints": [
                round(number, 6 if index % 3 == 2 else 2)
                for index, number in enumerate(result["keypoints"])
            ],
            "score": round(result["score"], 6),
        }
        for result in to_coco(poses)
    ]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        # Without the time of writing: the same poses make the same file.
        archive.writestr(
            zipfile.ZipInfo(f"{stem}.json"),
            json.dumps(results, allow_nan=False, separators=(",", ":")),
            compress_type=zipfile.ZIP_DEFLATED,
        )
    path = folder / f"{stem}.zip"
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return path
