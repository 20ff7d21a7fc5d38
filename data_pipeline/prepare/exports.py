"""Exports of label tools, as unpacked, laid out in COCO's layout to prepare them.

CVAT ("COCO Keypoints 1.0"), Label Studio, Roboflow ("COCO keypoints"), Supervisely and
COCO-annotator write COCO-style JSON under many names; YOLO's text files are read by
`yolo`. Which files are annotations, of which split, and where their images are is found
by looking. What is derived is told; what cannot be known is asked for.
"""

import collections
import contextlib
import json
import pathlib
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from data_pipeline.prepare import yolo
from data_pipeline.prepare.derive import Notes, derive_annotation, derive_limbs
from data_pipeline.prepare.image_names import find_image, list_files
from data_pipeline.prepare.merge import hold_out, merge
from data_pipeline.read.coco import AnnotationFile
from data_pipeline.read.coco_checks import integer_field, keypoint_category
from data_pipeline.read.find_skeleton import SETTINGS_FILE
from data_pipeline.read.images import encoded_size, read_encoded
from data_pipeline.read.layouts import COCO, annotation_file
from logocap_jax.skeletons import KNOWN

DEFAULT_SIGMA = 0.05
DEFAULT_VAL_SHARE = 0.1
_SPLIT = re.compile(r"(?<![a-z])(train|val|test)(?:ing|id|idation)?(?![a-z])", re.I)


class Export(NamedTuple):
    """What was found in an export."""

    splits: dict[str, dict[str, Any]]  #: COCO-style lists by split, all derived
    sources: dict[str, str]  #: by split, the files that they are from
    notes: tuple[str, ...]  #: what was derived, one line each


class _Part(NamedTuple):
    """One annotation file of an export."""

    path: pathlib.Path
    split: str | None
    content: dict[str, Any]


def read_export(
    root: pathlib.Path,
    *,
    files: dict[str, pathlib.Path],
    val_share: float | None = None,
    seed: int = 0,
    category: str | None = None,
) -> Export:
    """Find and read annotations and images of an export.

    Args:
      root: the folder as unpacked.
      files: annotation files by split, where they are known; else they are found.
      val_share: share of the images to hold out where no file is of `val`.
      seed: of that choice.
      category: name of the category, where several have keypoints.

    Raises:
      ValueError: if nothing is found, or it can be read in several ways.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: got no folder, expected an export of a label tool")
    notes: list[str] = []
    parts = _used(root, _parts(root, files), notes)
    places = list_files(root)
    merged: dict[str | None, dict[str, Any]] = {}
    for split in dict.fromkeys(part.split for part in parts):
        own = [part for part in parts if part.split == split]
        counts: Notes = collections.Counter()
        contents = [_derive(root, part, places, category, counts) for part in own]
        names = ", ".join(str(part.path.relative_to(root)) for part in own)
        merged[split] = merge(contents, names, counts)
        notes += [f"{names}: {what}: {count}" for what, count in counts.items()]
    sources = {split: _names(root, parts, split) for split in merged}
    is_laid_out = COCO.annotation_file(root, "train") in [part.path for part in parts]
    if merged.keys() in ({None}, {"train"}) and (
        val_share is not None or not is_laid_out
    ):
        share = DEFAULT_VAL_SHARE if val_share is None else val_share
        ((_, whole),), (name,) = merged.items(), sources.values()
        merged = hold_out(whole, share, seed)
        sources = dict.fromkeys(merged, name)
        count = len(whole["images"]) - len(merged["train"]["images"])
        notes.append(
            f"{name}: none of it is of val: {count} of {len(whole['images'])} images "
            f"held out by chance (--val-share {share:g} --seed {seed})"
        )
    return Export(
        {str(split): content for split, content in merged.items()},
        {str(split): name for split, name in sources.items()},
        tuple(notes),
    )


@contextlib.contextmanager
def laid_out(
    root: pathlib.Path, out: pathlib.Path, *, sigma: float | None, **options: Any
) -> Iterator[tuple[pathlib.Path, list[str]]]:
    """A folder in COCO's layout beside `out` as long as it is needed; images are links.

    Args:
      root: the export, as unpacked.
      out: where the data set will be written.
      sigma: of all keypoints, where no `skeleton.toml` gives sigmas.
      options: of `read_export`.

    Yields:
      The folder, and what was derived and assumed, in lines.

    Raises:
      ValueError: as `read_export`; errors name the export's files, not the folder's.
    """
    export = read_export(root, **options)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        target = pathlib.Path(name)
        assumed = _write(export, root, target, sigma)
        try:
            yield target, [*export.notes, *assumed]
        except ValueError as error:
            text = str(error)
            for split, source in export.sources.items():
                text = text.replace(str(annotation_file(target, split)), source)
            raise ValueError(text.replace(name, str(root))) from error


def _write(
    export: Export, root: pathlib.Path, target: pathlib.Path, sigma: float | None
) -> list[str]:
    """Write annotations and skeleton; returns what was assumed of the skeleton."""
    for split, content in export.splits.items():
        path = annotation_file(target, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        (target / COCO.image_folders[split][-1]).symlink_to(root.resolve())
    (category,) = next(iter(export.splits.values()))["categories"]
    if (root / SETTINGS_FILE).is_file():
        _copy_settings(root, target)
        return []
    name = str(category.get("name") or "own")
    pairs = category.get("flip_pairs")
    known = KNOWN.get(len(category["keypoints"]))
    if sigma is None and known and known.keypoints == tuple(category["keypoints"]):
        if known.name != COCO.name:
            sigmas = dict(zip(known.keypoints, known.sigmas, strict=True))
            _write_settings(target, known.name, pairs, sigmas)
        return []
    _write_settings(target, name, pairs, DEFAULT_SIGMA if sigma is None else sigma)
    if sigma is not None:
        return []
    return [
        f"sigmas: {DEFAULT_SIGMA:g} for each keypoint, for nothing says how precisely "
        "people can place them; scores depend on them (--sigma, or a skeleton.toml)"
    ]


def _parts(root: pathlib.Path, files: dict[str, pathlib.Path]) -> list[_Part]:
    if files:
        return [_given(root, path, split) for split, path in files.items()]
    official = {split: COCO.annotation_file(root, split) for split in ("train", "val")}
    laid = {split: path for split, path in official.items() if path.is_file()}
    if laid:
        return [_given(root, path, split) for split, path in laid.items()]
    parts, refused = [], []
    for path in sorted(root.rglob("*.json")):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        try:
            content = AnnotationFile(path).content
        except ValueError as error:
            refused.append(error)
            continue
        if _has_keypoints(content) and path not in _second(root):
            parts.append(_Part(path, _split_of(path.relative_to(root)), content))
    parts = parts or _yolo_parts(root)
    if not parts and refused:
        raise refused[0]
    if not parts:
        raise ValueError(
            f"{root}: got neither COCO-style JSON with `keypoints` in `categories` nor "
            "a data.yaml with kpt_shape, expected an export as COCO keypoints (CVAT: "
            "COCO Keypoints 1.0) or YOLO pose"
        )
    return parts


def _given(root: pathlib.Path, path: pathlib.Path, split: str) -> _Part:
    path = path if path.is_file() else root / path
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path}: got annotations outside of {root}, expected inside")
    content = AnnotationFile(path).content
    if not _has_keypoints(content):
        content = content if isinstance(content, dict) else {}
        keypoint_category(content.get("categories"), str(path))
        raise ValueError(f"{path}: got no COCO-style JSON, expected it")
    return _Part(root / path.resolve().relative_to(root.resolve()), split, content)


def _has_keypoints(content: Any) -> bool:
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict):
        return False
    if not all(isinstance(content.get(name), list) for name in lists):
        return False
    entries = [each for each in content["categories"] if isinstance(each, dict)]
    return any(each.get("keypoints") for each in entries)


def _second(root: pathlib.Path) -> list[pathlib.Path]:
    """The second annotation of `skeleton.toml`, which is no part of the data."""
    path = root / SETTINGS_FILE
    if not path.is_file():
        return []
    try:
        name = tomllib.loads(path.read_text(encoding="utf-8")).get("sigmas_from")
    except ValueError:  # told by `find_skeleton`
        return []
    return [root / str(name)] if name else []


def _split_of(path: pathlib.Path) -> str | None:
    """The split that the name of a file, else of a folder around it, tells."""
    for name in reversed(path.parts):
        found = _SPLIT.findall(name)
        if found:
            return str(found[-1]).lower()
    return None


def _yolo_parts(root: pathlib.Path) -> list[_Part]:
    parts = []
    for path in sorted((*root.rglob("*.yaml"), *root.rglob("*.yml"))):
        settings = yolo.read_settings(path)
        if settings is None:
            continue
        for split in yolo.SPLIT_NAMES:
            content = yolo.read_split(path, settings, split)
            if content is not None:
                parts.append(_Part(path, split, content))
    return parts


def _used(root: pathlib.Path, parts: list[_Part], notes: list[str]) -> list[_Part]:
    """The parts to prepare: of train and val, or all if none says its split."""
    known = {part.split for part in parts} - {None}
    unknown = [str(each.path.relative_to(root)) for each in parts if not each.split]
    if known and unknown:
        raise ValueError(
            f"{root}: got {', '.join(unknown)!s:.120}, which does not tell its split, "
            "beside others; say which files to take with --train FILE and --val FILE"
        )
    used = [each for each in parts if each.split != "test" or known == {"test"}]
    if len(used) < len(parts):
        name = _names(root, parts, "test")
        notes.append(f"{name}: the test split is left out (--val takes it)")
    if known == {"test"}:
        notes.append(f"{_names(root, parts, 'test')}: test is taken as val")
        used = [each._replace(split="val") for each in used]
    return used


def _names(root: pathlib.Path, parts: Sequence[_Part], split: str | None) -> str:
    own = [str(part.path.relative_to(root)) for part in parts if part.split == split]
    return ", ".join(own)


def _derive(
    root: pathlib.Path,
    part: _Part,
    places: dict[str, list[pathlib.PurePosixPath]],
    category: str | None,
    notes: Notes,
) -> dict[str, Any]:
    source, content = str(part.path), part.content
    chosen = derive_limbs(_category(content["categories"], category, source), notes)
    images = [_image(root, each, part, places, notes) for each in content["images"]]
    number = chosen["id"]
    others = {integer_field(each, "id") for each in content["categories"]} - {number}
    people = []
    for entry in content["annotations"]:
        if integer_field(entry, "category_id") in others:
            notes["annotations of other categories left out"] += 1
        elif isinstance(entry, dict):
            people.append(derive_annotation(entry, len(chosen["keypoints"]), notes))
        else:
            people.append(entry)
    return {"images": images, "annotations": people, "categories": [chosen]}


def _category(entries: list[Any], name: str | None, source: str) -> dict[str, Any]:
    named = [each for each in entries if isinstance(each, dict)]
    named = [each for each in named if each.get("keypoints")]
    if name is not None:
        named = [each for each in named if each.get("name") == name]
        known = [str(each.get("name")) for each in entries if isinstance(each, dict)]
        if not named:
            raise ValueError(
                f"{source}: got no category {name!r:.40} with keypoints, expected one "
                f"of {', '.join(known)!s:.120}"
            )
    elif len(named) > 1:
        raise ValueError(
            f"{source}: got {len(named)} categories with keypoints, "
            f"{', '.join(str(each.get('name')) for each in named)!s:.120}; say which "
            "one to take with --category NAME"
        )
    return keypoint_category(named, source)


def _image(
    root: pathlib.Path,
    entry: Any,
    part: _Part,
    places: dict[str, list[pathlib.PurePosixPath]],
    notes: Notes,
) -> Any:
    """The entry with its file's path in the export, and its size if it lacks one."""
    if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
        return entry
    name = entry["file_name"]
    found = find_image(name, part.path.relative_to(root), places)
    if found is None:
        return entry
    image = {**entry, "file_name": str(found)}
    if "/" in name.replace("\\", "/") and str(found) != name:
        notes["images found by name, their folders being others"] += 1
    if not entry.get("width") or not entry.get("height"):
        try:
            image["width"], image["height"] = encoded_size(read_encoded(root / found))
        except ValueError:  # told by the checks
            return image
        notes["sizes of images from the files"] += 1
    return image


def _copy_settings(root: pathlib.Path, target: pathlib.Path) -> None:
    """`skeleton.toml` and the second annotation that it may name."""
    shutil.copy(root / SETTINGS_FILE, target / SETTINGS_FILE)
    for second in _second(root):
        link = target / second.relative_to(root)
        if second.is_file() and not link.exists() and ".." not in link.parts:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(second.resolve())


def _write_settings(
    target: pathlib.Path,
    name: str,
    flip_pairs: list[list[str]] | None,
    sigmas: float | dict[str, float],
) -> None:
    # JSON's texts and lists are TOML's, too.
    lines = [f"name = {json.dumps(name)}"]
    if flip_pairs is not None:
        lines.append(f"flip_pairs = {json.dumps(flip_pairs)}")
    if isinstance(sigmas, dict):
        lines.append("[sigmas]")
        lines += [f"{json.dumps(each)} = {sigma}" for each, sigma in sigmas.items()]
    else:
        lines.append(f"sigmas = {sigmas}")
    (target / SETTINGS_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
