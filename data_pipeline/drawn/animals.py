"""Drawn animals, seen from above: a small data set with keypoints of its own."""

import dataclasses

import numpy as np
from jaxtyping import Float

from data_pipeline.drawn.background import draw_background
from data_pipeline.drawn.body import Sprite
from data_pipeline.drawn.dataset import Subject
from data_pipeline.drawn.paint import (
    Shape,
    contrasting,
    ellipse,
    hull_of_discs,
    paint,
    random_material,
)
from data_pipeline.drawn.scene import Annotation, Scene, Stage, photograph

# In lengths of an animal without its tail: x forward from its middle, y to its right.
_POINTS = {
    "nose": (0.48, 0.0),
    "left_ear": (0.24, -0.18),
    "right_ear": (0.24, 0.18),
    "rump": (-0.36, 0.0),
    "tail": (-0.72, 0.0),
}
_HEAD, _MIDDLE = (0.3, 0.0), (-0.1, 0.0)
_SKELETON = """\
name = "animal"
flip_pairs = [["left_ear", "right_ear"]]
sigmas = 0.1
"""


def draw_animals(rng: np.random.Generator, size: int) -> Scene:
    """Draw one to three animals walking roughly to the right; `size` in pixels."""
    stage = Stage(size)
    actors = []
    for length in np.sort(rng.uniform(0.45, 0.65, rng.integers(1, 4)))[::-1]:
        sprite = _random_sprite(rng, length * stage.size)
        room = np.maximum(stage.size - np.array(sprite.mask.shape[::-1]), 1)
        corners = [(int(x), int(y)) for x, y in rng.integers(0, room, (8, 2))]
        actors.append(stage.add(sprite, corners, min_visible=0.8))
    image = stage.paint(draw_background(rng, stage.size, max_shapes=4))
    annotations = []
    for actor in filter(None, actors):
        mask = stage.visible([actor])
        annotations.append(Annotation(mask, stage.keypoints(actor, mask)))
    return Scene(photograph(rng, image), tuple(annotations))


def _random_sprite(rng: np.random.Generator, length: float) -> Sprite:
    """Paint a random animal; `length` without the tail, pixels."""
    turn = np.deg2rad(rng.uniform(-35, 35))
    forward = np.array([np.cos(turn), np.sin(turn)])
    to_image = np.stack([forward, [-forward[1], forward[0]]])  # rows: x, y of the body
    points = {name: np.array(point) for name, point in _POINTS.items()}
    points["tail"] = points["tail"] + (0, rng.uniform(-0.2, 0.2))
    points |= {"head": np.array(_HEAD), "middle": np.array(_MIDDLE)}
    points = {name: length * point @ to_image for name, point in points.items()}
    shapes = _shapes(points, length, forward)
    corners = np.concatenate([shape.outline for shape in shapes])
    low = np.floor(corners.min(axis=0)) - 2
    width, height = (np.ceil(corners.max(axis=0)) - low).astype(int) + 3
    rgb = np.zeros((height, width, 3), np.uint8)
    mask = np.zeros((height, width), bool)
    fur = random_material(rng, frequency=4.0)
    nose = dataclasses.replace(
        fur, texture="plain", colors=np.tile(contrasting(fur.colors[0]), (2, 1))
    )
    for shape in shapes:
        material = nose if shape is shapes[-1] else fur
        moved = shape.moved(1.0, -low)
        mask[paint(rgb, moved, material, unit=length, line=1)] = True
    keypoints = np.stack([points[name] - low for name in _POINTS])
    everything = np.ones(len(_POINTS), bool)
    return Sprite(rgb, mask, keypoints, everything, everything)


def _shapes(
    points: dict[str, Float[np.ndarray, "2"]],
    length: float,
    forward: Float[np.ndarray, "2"],
) -> list[Shape]:
    """The parts of an animal, from below to above; the nose comes last."""
    across = np.array([-forward[1], forward[0]])

    def disc(name: str, radius: float) -> Shape:
        return hull_of_discs(points[name][None], np.array([radius * length]))

    tail = np.stack([points["rump"], points["tail"]])
    body = ellipse(points["middle"], 0.36 * length * forward, 0.26 * length * across)
    return [
        hull_of_discs(tail, np.array([0.07, 0.03]) * length),
        body,
        disc("head", 0.2),
        disc("left_ear", 0.07),
        disc("right_ear", 0.07),
        disc("nose", 0.05),
    ]


_NAMES = list(_POINTS)
ANIMALS = Subject(
    "animals",
    draw_animals,
    {
        "id": 3,
        "name": "animal",
        "supercategory": "animal",
        "keypoints": _NAMES,
        "skeleton": [
            [_NAMES.index(one) + 1, _NAMES.index(other) + 1]
            for one, other in (
                ("nose", "left_ear"),
                ("nose", "right_ear"),
                ("left_ear", "rump"),
                ("right_ear", "rump"),
                ("rump", "tail"),
            )
        ],
    },
    _SKELETON,
)
