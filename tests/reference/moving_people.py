"""Drawn people who walk through a film, with their keypoints in every frame."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from data_pipeline.drawn.background import draw_background
from data_pipeline.drawn.body import random_outfit, render_person
from data_pipeline.drawn.figure import Figure, pose_figure, random_figure
from data_pipeline.drawn.scene import Stage

# Frames from one pose to the other and back.
_CYCLE = 24


class Walker:
    """A person who moves between two poses, wherever `walk` takes the hips."""

    def __init__(self, rng, height, walk):
        """Make a random person.

        Args:
          rng: source of body, poses and clothes.
          height: px.
          walk: number of a frame, from 0 on -> `(x, y)` of the hips, px.
        """
        first = random_figure(rng)
        second = pose_figure(rng, build=first.build, view=first.view)
        self._poses: tuple[Figure, Figure] = (first, second)
        self._outfit = random_outfit(rng)
        self._height, self._walk = height, walk

    def sprite_and_corner(self, frame, scale):
        """The painted person and where it stands, stage px."""
        sprite = self._sprite(frame % _CYCLE, scale)
        hips = sprite.keypoints[11:13].mean(axis=0)
        place = scale * np.array(self._walk(frame))
        x, y = np.rint(place - hips).astype(int).tolist()
        return sprite, (x, y)

    @functools.cache  # noqa: B019 - a walker lives as long as its film
    def _sprite(self, phase, scale):
        share = 0.25 - 0.25 * np.cos(2 * np.pi * phase / _CYCLE)
        first, second = self._poses
        points = {
            name: (1 - share) * point + share * second.points[name]
            for name, point in first.points.items()
        }
        figure = dataclasses.replace(first, points=points)
        return render_person(figure, self._outfit, float(scale * self._height))


def film(walkers, *, frames, size, seed=0) -> Iterator[tuple[np.ndarray, dict]]:
    """Yield each frame, and the keypoints in it of each walker who is to be seen.

    A walker is to be seen while most of its keypoints are inside the frame and somebody
    nearer does not hide nearly all of it; nearer ones come first.
    """
    background = draw_background(np.random.default_rng(seed), Stage(size).size)
    for frame in range(frames):
        stage = Stage(size)
        seen = {}
        for number, walker in enumerate(walkers):
            sprite, corner = walker.sprite_and_corner(frame, stage.size // size)
            actor = stage.add(sprite, [corner], min_visible=0.15)
            if actor is None:
                continue
            points = (sprite.keypoints + corner - 0.5) / 2
            inside = ((points >= 0) & (points < size)).all(axis=1)
            if inside.mean() > 0.5:
                seen[number] = points.astype(np.float32)
        yield stage.paint(background.copy()), seen
