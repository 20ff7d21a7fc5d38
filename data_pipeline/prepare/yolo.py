"""Pose labels in YOLO's text files, as COCO-style lists.

`data.yaml` says where images are and how many keypoints there are (`kpt_shape`), which
mirror each other (`flip_idx`) and, seldom, their names (`kpt_names`). Beside a folder
`images` lies `labels` with a text file for each image; a line is a person: class, the
box (middle, width, height) and `x y` or `x y flag` of each keypoint, as shares of the
image's width and height.
"""

import pathlib
from typing import Any

import yaml

from data_pipeline.read.images import encoded_size, read_encoded
from logocap_jax.skeletons import KNOWN

_SUFFIXES = (".jpg", ".jpeg", ".png")
# Ultralytics, Roboflow and others; the first that is there.
SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


def read_settings(path: pathlib.Path) -> dict[str, Any] | None:
    """The parsed `data.yaml` if it describes keypoints.

    Raises:
      ValueError: if it is no YAML, or the number of keypoints cannot be.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: got no YAML: {' '.join(str(error).split())!s:.160}"
        ) from error
    if not isinstance(content, dict) or "kpt_shape" not in content:
        return None
    shape = content["kpt_shape"]
    is_shape = isinstance(shape, list) and [type(each) for each in shape] == [int, int]
    if not is_shape or shape[0] < 1 or shape[1] not in (2, 3):
        raise ValueError(
            f"{path}: got kpt_shape {shape!r:.40}, expected [K, 2] or [K, 3]"
        )
    index = content.get("flip_idx")
    if index and not _mirrors(index, shape[0]):
        raise ValueError(
            f"{path}: got flip_idx {index!r:.80}, expected for each of {shape[0]} "
            "keypoints the place of its mirror image, from 0 on"
        )
    return content


def keypoint_names(settings: dict[str, Any]) -> list[str] | None:
    """Names of the keypoints: given, or of the public skeleton with that `flip_idx`."""
    names = settings.get("kpt_names")
    if isinstance(names, dict):
        names = next(iter(names.values()), None)
    if isinstance(names, list) and len(names) == settings["kpt_shape"][0]:
        return [str(name) for name in names]
    known = KNOWN.get(settings["kpt_shape"][0])
    if known and settings.get("flip_idx") == known.flip_index.tolist():
        return list(known.keypoints)
    return None


def read_split(
    path: pathlib.Path, settings: dict[str, Any], split: str
) -> dict[str, Any] | None:
    """One split as COCO-style lists; `file_name` is relative to the settings' folder.

    Raises:
      ValueError: if a label cannot be read; names file and line.
    """
    named = [settings[name] for name in SPLIT_NAMES[split] if settings.get(name)]
    if not named:
        return None
    root = path.parent
    images = _images(root, str(settings.get("path") or ""), named[0])
    classes = settings.get("names") or {0: "person"}
    if isinstance(classes, list):
        classes = dict(enumerate(classes))
    count = settings["kpt_shape"][0]
    names = keypoint_names(settings) or [f"keypoint_{i}" for i in range(count)]
    people: list[dict[str, Any]] = []
    listed = []
    for number, image in enumerate(images, 1):
        size = _size(image)
        listed.append(
            {
                "id": number,
                "file_name": image.relative_to(root).as_posix(),
                "width": size[0],
                "height": size[1],
            }
        )
        for person in _people(_label_file(image), size, *settings["kpt_shape"]):
            people.append({"id": len(people) + 1, "image_id": number, **person})
    category: dict[str, Any] = {"keypoints": names}
    if index := settings.get("flip_idx"):
        pairs = [(i, j) for i, j in enumerate(index) if i < j]
        category["flip_pairs"] = [[names[i], names[j]] for i, j in pairs]
    categories = [
        {"id": int(key), "name": str(name), **category} for key, name in classes.items()
    ]
    return {"images": listed, "annotations": people, "categories": categories}


def _mirrors(index: Any, count: int) -> bool:
    if not isinstance(index, list) or len(index) != count:
        return False
    if not all(type(each) is int and 0 <= each < count for each in index):
        return False
    return all(index[index[each]] == each for each in range(count))


def _images(root: pathlib.Path, base: str, named: Any) -> list[pathlib.Path]:
    """Image files of a split: a folder, a text file that lists them, or several."""
    found: list[pathlib.Path] = []
    for name in named if isinstance(named, list) else [named]:
        # Roboflow writes ../train/images for what lies beside data.yaml.
        plain = pathlib.PurePosixPath(str(name).replace("\\", "/"))
        parts = [part for part in plain.parts if part not in ("..", ".", "/")]
        tried = [root / base / name, root / name, root.joinpath(*parts)]
        tried += [root.joinpath(*parts[1:])] if len(parts) > 1 else []
        inside = [
            each for each in tried if each.resolve().is_relative_to(root.resolve())
        ]
        place = next((each for each in inside if each.exists()), None)
        if place is None:
            raise ValueError(
                f"{root}: got no {str(name)!r:.80} of data.yaml, expected a folder of "
                "images in the export"
            )
        if place.is_file():
            lines = place.read_text(encoding="utf-8").split()
            found += [root.joinpath(pathlib.PurePosixPath(line)) for line in lines]
        else:
            found += sorted(
                each for each in place.rglob("*") if each.suffix.lower() in _SUFFIXES
            )
    return found


def _size(image: pathlib.Path) -> tuple[int, int]:
    try:
        return encoded_size(read_encoded(image))
    except ValueError as error:
        raise ValueError(f"{image}: {error}") from error


def _label_file(image: pathlib.Path) -> pathlib.Path:
    """The last folder `images` of the path is `labels`."""
    parts = list(image.with_suffix(".txt").parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return pathlib.Path(*parts)


def _people(
    path: pathlib.Path, size: tuple[int, int], count: int, dims: int
) -> list[dict[str, Any]]:
    """People of one label file, in px; no file: nobody is there."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    people = []
    for place, line in enumerate(lines, 1):
        try:
            numbers = [float(word) for word in line.split()]
        except ValueError as error:
            raise ValueError(f"{path}, line {place}: {error!s:.80}") from error
        if numbers and len(numbers) != 5 + count * dims:
            raise ValueError(
                f"{path}, line {place}: got {len(numbers)} numbers, expected "
                f"{5 + count * dims}: class, box, {count} keypoints of {dims} numbers"
            )
        if numbers:
            people.append(_person(numbers, size, dims))
    return people


def _person(numbers: list[float], size: tuple[int, int], dims: int) -> dict[str, Any]:
    width, height = size
    x, y, w, h = numbers[1:5]
    keypoints: list[float] = []
    for start in range(5, len(numbers), dims):
        each = numbers[start : start + dims]
        # Without flags, the corner stands for a keypoint that is not labelled.
        flag = each[2] if dims == 3 else 2 * float(any(each))
        keypoints += [each[0] * width, each[1] * height, int(flag)]
    box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
    return {"category_id": int(numbers[0]), "bbox": box, "keypoints": keypoints}
