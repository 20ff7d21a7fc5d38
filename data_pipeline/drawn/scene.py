"""Scene: place people on a stage; which of their pixels and keypoints are visible."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_pipeline.drawn.background import draw_background
from data_pipeline.drawn.body import Sprite, random_sprite


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


MIN_SIZE = 96
_Corners = Iterable[tuple[int, int]]
# Shares of images with 0, 1, .. 8 people; their mean is 2.5.
_COUNTS = (0.07, 0.25, 0.27, 0.18, 0.09, 0.055, 0.04, 0.025, 0.02)


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One person, or one crowd, as COCO would annotate it, in image pixels."""

    mask: Bool[np.ndarray, "H W"]  #: its visible pixels, at least one
    #: `(x, y, v)` with pixel centres at integers; v is 2 where visible, 1 where hidden,
    #: 0 (and x = y = 0) outside the image or where not labelled.
    keypoints: Float[np.ndarray, "K 3"]
    #: The mask holds several people, none of them annotated by itself.
    is_crowd: bool = False

    @property
    def num_keypoints(self) -> int:
        """Number of labelled keypoints."""
        return int((self.keypoints[:, 2] > 0).sum())


@dataclasses.dataclass(frozen=True)
class Scene:
    """An image and what is in it."""

    image: UInt8[np.ndarray, "H W 3"]  #: RGB pixels
    #: 0 to 8 people, nearest first; after them, in some scenes, far people and a crowd,
    #: which have no keypoints.
    annotations: tuple[Annotation, ...]


def draw_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw people before a cluttered background.

    The same state of `rng` draws the same scene; `size` in pixels, at least 96.

    Raises:
      ValueError: if the size is too small.
    """
    if size < MIN_SIZE:
        raise ValueError(
            f"got size {size}, expected at least {MIN_SIZE} pixels; draw larger images"
        )
    stage = Stage(size)
    people = _add_people(rng, stage)
    far = _add_far_people(rng, stage) if rng.random() < 0.12 else []
    crowd = _add_crowd(rng, stage) if rng.random() < 0.07 else []
    image = stage.paint(draw_background(rng, stage.size))
    annotations = [_annotate(stage, [actor], labelled=True) for actor in people]
    annotations += [_annotate(stage, [actor]) for actor in far]
    if crowd:
        annotations.append(_annotate(stage, crowd, is_crowd=True))
    return Scene(photograph(rng, image), tuple(annotations))


def _add_people(rng: np.random.Generator, stage: Stage) -> list[Actor]:
    """The people of a scene: the more, the smaller; larger ones are nearer."""
    count = rng.choice(len(_COUNTS), p=_COUNTS)
    tallest = 0.95 - 0.06 * max(count - 1, 0)
    shortest = max(0.36, 0.55 - 0.05 * max(count - 1, 0))
    heights = np.sort(rng.uniform(shortest, tallest, count))[::-1]
    return _add(rng, stage, heights, _corners_anywhere, min_visible=0.55)


def _add_far_people(rng: np.random.Generator, stage: Stage) -> list[Actor]:
    """One or two people too small for keypoints."""
    heights = rng.uniform(0.10, 0.17, rng.integers(1, 3))
    return _add(rng, stage, heights, _corners_anywhere, min_visible=0.7)


def _add_crowd(rng: np.random.Generator, stage: Stage) -> list[Actor]:
    """A group of small people who hide each other; fewer where there is no room."""
    middle = rng.uniform(0.15, 0.85, 2)

    def corners(rng: np.random.Generator, _: Sprite, size: int) -> _Corners:
        places = rng.normal(middle, (0.14, 0.03), (4, 2)) * size
        return [(int(x), int(y)) for x, y in places]

    heights = rng.uniform(0.14, 0.24, rng.integers(6, 13))
    return _add(rng, stage, heights, corners, min_visible=0.4)


def _add(
    rng: np.random.Generator,
    stage: Stage,
    heights: Iterable[float],
    corners: Callable[[np.random.Generator, Sprite, int], _Corners],
    *,
    min_visible: float,
) -> list[Actor]:
    """Put random people on the stage, those for whom there is room."""
    actors = []
    for height in heights:
        sprite = random_sprite(rng, height * stage.size)
        places = corners(rng, sprite, stage.size)
        actors.append(stage.add(sprite, places, min_visible=min_visible))
    return [actor for actor in actors if actor]


def _annotate(
    stage: Stage,
    actors: list[Actor],
    *,
    labelled: bool = False,
    is_crowd: bool = False,
) -> Annotation:
    mask = stage.visible(actors)
    keypoints = stage.keypoints(actors[0], mask) if labelled else np.zeros((17, 3))
    return Annotation(mask, keypoints, is_crowd)


def _corners_anywhere(
    rng: np.random.Generator, sprite: Sprite, size: int, *, tries: int = 16
) -> Iterator[tuple[int, int]]:
    """Places for a sprite, three in four of them as far inside as it fits."""
    room = size - np.array(sprite.mask.shape[::-1])
    for _ in range(tries):
        if rng.random() < 0.75:
            corner = rng.uniform(np.minimum(room, 0), np.maximum(room, 0))
        else:
            overhang = 0.45 * (size - room)
            corner = rng.uniform(-overhang, room + overhang)
        yield int(corner[0]), int(corner[1])


def photograph(
    rng: np.random.Generator, image: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Random exposure, focus and sensor noise."""
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9))
    gain, offset, noise = rng.uniform((0.75, -10, 0), (1.15, 20, 5)).astype(np.float32)
    grain = rng.standard_normal(image.shape, np.float32)
    light = gain * image + noise * grain + offset
    return np.clip(light, 0, 255).astype(np.uint8)
