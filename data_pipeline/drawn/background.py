"""Background: clutter from the same shapes and materials as people."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipeline.drawn.paint import (
    Material,
    Shape,
    ellipse,
    hull_of_discs,
    paint,
    random_material,
)


def draw_background(
    rng: np.random.Generator, size: int, *, max_shapes: int = 18
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw a cluttered room as RGB; `size` in pixels."""
    canvas = _room(rng, size)
    makers = (_limb, _limb, _head, _stone, _plank)
    for _ in range(rng.integers(2, max_shapes + 1)):
        maker = makers[rng.integers(len(makers))]
        center = rng.uniform(0, size, 2)
        # Few large pieces, many small ones, as in most views.
        scale = size * float(np.exp(rng.uniform(np.log(0.25), 0.0)))
        material = _cloth(rng)
        line = max(1, round(0.006 * scale)) if rng.random() < 0.7 else 0
        for shape in maker(rng):
            paint(canvas, shape.moved(scale, center), material, unit=scale, line=line)
    return canvas


def _room(rng: np.random.Generator, size: int) -> UInt8[np.ndarray, "H W 3"]:
    """A wall and, in most images, a floor; coarse, as they have few edges."""
    coarse = size // 3
    canvas = np.zeros((coarse, coarse, 3), np.uint8)
    left, right = coarse * (rng.uniform(0.35, 1.3) + rng.normal(0.0, 0.04, 2))
    wall = [[0.0, 0.0], [coarse, 0.0], [coarse, coarse], [0.0, coarse]]
    floor = [[0.0, left], [coarse, right], [coarse, 2 * coarse], [0.0, 2 * coarse]]
    for corners in (wall, floor):
        surface = Shape(np.array(corners), rng.uniform(0, coarse, (2, 2)))
        cloth = _cloth(rng)
        # Faint patterns: a loud one behind people makes them hard to see.
        faint = cloth.colors[0] + rng.uniform(0.1, 0.6) * np.diff(cloth.colors, axis=0)
        colors = np.stack([cloth.colors[0], faint[0]])
        cloth = dataclasses.replace(cloth, colors=colors)
        shade = rng.uniform(0.0, 0.4)
        paint(canvas, surface, cloth, unit=float(coarse), line=0, shade=shade)
    smooth = cv2.blur(canvas, (3, 3))
    return cv2.resize(smooth, (size, size), interpolation=cv2.INTER_LINEAR)


def _cloth(rng: np.random.Generator) -> Material:
    return random_material(rng, frequency=rng.uniform(3, 12))


def _limb(rng: np.random.Generator) -> list[Shape]:
    """One to three tapered bones, end to end."""
    joints = np.cumsum(rng.normal(0, 0.14, (rng.integers(2, 5), 2)), axis=0)
    radii = np.sort(rng.uniform(0.02, 0.07, len(joints)))
    return [
        hull_of_discs(joints[i : i + 2], radii[i : i + 2])
        for i in range(len(joints) - 1)
    ]


def _head(rng: np.random.Generator) -> list[Shape]:
    """A disc, some with a few dots on it."""
    radius = rng.uniform(0.05, 0.13)
    disc = ellipse(np.zeros(2), np.array([0.0, radius]), np.array([0.86 * radius, 0.0]))
    dots = rng.uniform(-0.6, 0.6, (rng.integers(0, 4), 1, 2)) * radius
    return [disc, *(hull_of_discs(dot, np.array([0.15 * radius])) for dot in dots)]


def _stone(rng: np.random.Generator) -> list[Shape]:
    """A rounded polygon."""
    corners = rng.uniform(-0.18, 0.18, (rng.integers(3, 7), 2))
    return [hull_of_discs(corners, rng.uniform(0.002, 0.03, len(corners)))]


def _plank(rng: np.random.Generator) -> list[Shape]:
    """A long thin bar."""
    end = rng.normal(0, 0.35, 2)
    return [hull_of_discs(np.stack([-end, end]), rng.uniform(0.01, 0.045, 2))]
