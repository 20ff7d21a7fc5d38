"""Stage: who stands where, and which of their pixels and keypoints are visible."""

import dataclasses
from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_pipeline.drawn.render import Sprite


@dataclasses.dataclass(frozen=True)
class Actor:
    """A sprite on the stage."""

    sprite: Sprite  #: the painted person
    corner: tuple[int, int]  #: stage pixel (x, y) of the sprite's top left one
    number: int  #: what marks this person's pixels, from 1


class Stage:
    """A square on which people are placed from near to far.

    Pixels of the stage are finer than those of the image by `supersampling`, which
    keeps edges from being jagged.

    Attributes:
      size: stage pixels of either side.
      actors: people, nearest first.
    """

    def __init__(self, size: int, *, supersampling: int = 2) -> None:
        """Make an empty stage for an image of `size` x `size` pixels."""
        self.size = supersampling * size
        self.actors: list[Actor] = []
        self._supersampling = supersampling
        self._front = np.zeros((self.size, self.size), np.uint8)

    def add(
        self,
        sprite: Sprite,
        corners: Iterable[tuple[int, int]],
        *,
        min_visible: float,
    ) -> Actor | None:
        """Put a person behind all others, at the first place that shows enough of it.

        `corners` are places to try for the sprite's top left pixel `(x, y)`;
        `min_visible` is the least visible share of its pixels. None if no place would
        do.
        """
        needed = min_visible * np.count_nonzero(sprite.mask)
        for corner in corners:
            window, own = self._windows(sprite, corner)
            free = sprite.mask[own] & (self._front[window] == 0)
            if np.count_nonzero(free) >= needed:
                actor = Actor(sprite, corner, len(self.actors) + 1)
                self._front[window][free] = actor.number
                self.actors.append(actor)
                return actor
        return None

    def paint(
        self, background: UInt8[np.ndarray, "S S 3"]
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Paint everybody over RGB stage pixels, in place; return RGB image pixels."""
        for actor in reversed(self.actors):
            window, own = self._windows(actor.sprite, actor.corner)
            mask = actor.sprite.mask[own][..., None]
            np.copyto(background[window], actor.sprite.rgb[own], where=mask)
        return self._shrink(background)

    def visible(self, actors: Iterable[Actor]) -> Bool[np.ndarray, "H W"]:
        """Mask of the image pixels that these people fill by more than a half."""
        own = [self._front == actor.number for actor in actors]
        filled = np.logical_or.reduce(own).astype(np.float32)
        return self._shrink(filled) > 0.5

    def keypoints(
        self, actor: Actor, visible: Bool[np.ndarray, "H W"]
    ) -> Float[np.ndarray, "K 3"]:
        """A person's keypoints as COCO labels them: `(x, y, v)`, image px.

        Rounded to 0.01; v is 2 where visible, 1 where hidden by anybody, 0 (and x = y =
        0) outside the image or where nobody would label it. `visible` is the person's
        mask.
        """
        sprite, scale = actor.sprite, self._supersampling
        fine = sprite.keypoints + actor.corner
        points = np.round((fine - (scale - 1) / 2) / scale, 2)
        columns, rows = np.rint(points).astype(int).T
        inside = (columns >= 0) & (columns < visible.shape[1])
        inside &= (rows >= 0) & (rows < visible.shape[0])
        labelled = inside & sprite.labelled
        result = np.zeros((len(points), 3))
        result[labelled, :2] = points[labelled]
        for k in np.flatnonzero(labelled):
            x, y = np.rint(fine[k]).astype(int)
            on_top = self._front[y, x] == actor.number and visible[rows[k], columns[k]]
            result[k, 2] = 2 if on_top and sprite.seen[k] else 1
        return result

    def _windows(
        self, sprite: Sprite, corner: tuple[int, int]
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The same pixels on the stage and of the sprite."""
        starts = np.array(corner[::-1])
        lows = np.clip(starts, 0, self.size)
        highs = np.clip(starts + sprite.mask.shape, 0, self.size)
        window = tuple(slice(a, b) for a, b in zip(lows, highs, strict=True))
        own = zip(lows - starts, highs - starts, strict=True)
        return window, tuple(slice(a, b) for a, b in own)

    def _shrink(self, fine: np.ndarray) -> np.ndarray:
        size = self.size // self._supersampling
        return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)
