"""Render: paint one random person as a sprite that a scene can place."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_pipeline.drawn.body import Outfit, Part, body_parts, random_outfit
from data_pipeline.drawn.figure import Figure, random_figure
from data_pipeline.drawn.paint import paint
from logocap_jax.skeletons import COCO

_FACE = ("nose", "left_eye", "right_eye")


@dataclasses.dataclass(frozen=True)
class Sprite:
    """A painted person (or another being), in its own pixels."""

    rgb: UInt8[np.ndarray, "h w 3"]  #: colours, arbitrary where not `mask`
    mask: Bool[np.ndarray, "h w"]  #: pixels of the person
    #: `(x, y)`, pixel centres at integers; of a person COCO's.
    keypoints: Float[np.ndarray, "K 2"]
    seen: Bool[np.ndarray, " K"]  #: keypoint is not hidden by the person's own body
    #: An annotator would place the keypoint, seen or not.
    labelled: Bool[np.ndarray, " K"]


def random_sprite(rng: np.random.Generator, height: float) -> Sprite:
    """Paint a random person; `height` in pixels if it stood upright."""
    return render_person(random_figure(rng), random_outfit(rng), height)


def render_person(figure: Figure, outfit: Outfit, height: float) -> Sprite:
    """Paint a posed person, cropped to it and a small margin.

    `height` is the number of pixels of one standing height.
    """
    line = max(1, round(0.006 * height))
    parts = body_parts(figure, outfit)
    corners = height * np.concatenate([part.shape.outline for part in parts])
    low = np.floor(corners.min(axis=0)) - line - 1
    width, depth = (np.ceil(corners.max(axis=0)) - low).astype(int) + line + 2
    rgb = np.zeros((depth, width, 3), np.uint8)
    top = np.zeros((depth, width), np.uint8)
    for number, part in enumerate(parts, start=1):
        pixels = paint(
            rgb,
            part.shape.moved(height, -low),
            outfit.materials[part.material],
            unit=height,
            line=line if part.outlined else 0,
        )
        top[pixels] = number
    keypoints = height * figure.keypoints - low
    labelled = [not figure.faces_away or name not in _FACE for name in COCO.keypoints]
    return Sprite(
        rgb, top > 0, keypoints, _seen(parts, top, keypoints), np.array(labelled)
    )


def _seen(
    parts: list[Part], top: UInt8[np.ndarray, "h w"], keypoints: np.ndarray
) -> Bool[np.ndarray, "17"]:
    """The topmost part at a keypoint is one that shows it."""
    columns, rows = np.rint(keypoints).astype(int).T
    shown = [(), *(part.shows for part in parts)]
    return np.array(
        [
            name in shown[top[row, column]]
            for name, row, column in zip(COCO.keypoints, rows, columns, strict=True)
        ]
    )
