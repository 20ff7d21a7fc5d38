"""Which skeleton a data set has: the one place that all else asks."""

import json
import pathlib

from data_pipeline.prepare.dataset import is_prepared
from data_pipeline.read.layouts import COCO, SPLITS, Layout, find_layout
from data_pipeline.read.skeleton_file import read_skeleton
from logocap_jax.skeletons import Skeleton, parse_skeleton

# Beside the folder of annotations: says what COCO's format lacks.
SETTINGS_FILE = "skeleton.toml"
_METADATA_FILE = "metadata.json"  # TFDS's name


def find_skeleton(folder: pathlib.Path) -> Skeleton:
    """The skeleton of a data set.

    What `logocap prepare` wrote holds it. Of all else it is that of the annotations
    and a `skeleton.toml` in the folder, if there is one (see `skeleton_file`), or that
    of the layout: COCO's, OCHuman's or CrowdPose's.

    Args:
      folder: what `prepare_coco` wrote, or a folder in a layout of `layouts`.

    Raises:
      ValueError: if it is neither, or a file is damaged or says what cannot be.
      OSError: if a file that `skeleton.toml` names is not there.
    """
    if is_prepared(folder):
        return _read_metadata(folder)
    layout, annotations = _first_split(folder)
    settings = folder / SETTINGS_FILE
    return (
        read_skeleton(annotations, settings) if settings.is_file() else layout.skeleton
    )


def _first_split(folder: pathlib.Path) -> tuple[Layout, pathlib.Path]:
    """Layout and annotations of the first split that is there."""
    for split in (*SPLITS, *COCO.unlabelled):
        layout = find_layout(folder, split)
        if split in layout.annotations:
            path = layout.annotation_file(folder, split)
            if path.is_file():
                return layout, path
    raise ValueError(
        f"{folder}: got neither a prepared data set nor COCO's layout, expected the "
        f"output of `logocap prepare` or {COCO.annotation_file(folder, 'train')}"
    )


def _read_metadata(folder: pathlib.Path) -> Skeleton:
    path = folder / _METADATA_FILE
    try:
        return parse_skeleton(json.loads(path.read_bytes())["skeleton"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: got a data set of another kind, of an earlier version or "
            "damaged, expected the output of `logocap prepare`; prepare it again: "
            f"{path.name}: {error!s:.120}"
        ) from error
