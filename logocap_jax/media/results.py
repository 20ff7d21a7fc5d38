"""Picture after picture through a model."""

import collections
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from logocap_jax.media.pictures import Picture
from logocap_jax.predictor.explainer import Explained, Explainer
from logocap_jax.predictor.poses import Poses
from logocap_jax.predictor.predictor import Predictor


class Result(NamedTuple):
    """A picture and who is in it; the maps, where the model keeps them."""

    picture: Picture
    poses: Poses
    explained: Explained | None = None


def find_people(
    model: Predictor | Explainer, pictures: Iterable[Picture]
) -> Iterator[Result]:
    """Find the people in pictures, in order; of many, only a few are in memory."""
    if isinstance(model, Explainer):
        for picture in pictures:
            explained = model(picture.pixels)
            yield Result(picture, explained.poses, explained)
        return
    waiting: collections.deque[Picture] = collections.deque()

    def pixels() -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        for picture in pictures:
            waiting.append(picture)
            yield picture.pixels

    for poses in model.stream(pixels()):
        yield Result(waiting.popleft(), poses)
