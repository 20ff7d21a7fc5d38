"""Where an image goes in the network's input."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64

from data_pipeline.feed import affine

Size: TypeAlias = tuple[int, int]
Transform: TypeAlias = Float64[np.ndarray, "2 3"]

# `(width, height)` of an image -> that of its input, and the way from image px to it.
Fit: TypeAlias = Callable[[Size], tuple[Size, Transform]]


def by_short_side(short_side: int) -> Fit:
    """Inputs of one short side, as long as the image asks for.

    Args:
      short_side: input px, rounded up to a multiple of 64; so is the long side.

    Raises:
      ValueError: if it is less than 1.
    """
    if short_side < 1:
        raise ValueError(f"got short_side={short_side}, expected 1 or more")

    def fit(image_size: Size) -> tuple[Size, Transform]:
        size = affine.eval_input_size(image_size, short_side=short_side)
        return size, affine.eval_affine(image_size, size)

    return fit


def few_canvases(short_side: int) -> Callable[[Size], Size]:
    """Canvases that inputs of many shapes share, each in the corner of its own.

    The short side stays; the long side is 1.5 times as long, or 1.5 times that, and so
    on. So images up to an aspect of 2.25, upright or lying, have four canvases.

    Args:
      short_side: as for `by_short_side`.
    """

    def canvas(size: Size) -> Size:
        aspect, long = 1.5, 0
        while long < max(size):
            # As long as the input of an image of this aspect.
            long = affine.eval_input_size(
                (1000, round(1000 * aspect)), short_side=short_side
            )[1]
            aspect *= 1.5
        return (long, min(size)) if size[0] >= size[1] else (min(size), long)

    return canvas


def letterbox(input_size: Size) -> Fit:
    """Inputs of one size: the whole image in its middle, black around it.

    An image that `by_short_side` brings to this very size lies exactly as there; any
    other is made smaller, isotropically, until all of it is inside.

    Args:
      input_size: `(width, height)`, input px.
    """
    size = np.array(input_size)

    def fit(image_size: Size) -> tuple[Size, Transform]:
        transform = affine.eval_affine(image_size, input_size)
        covered = transform[0, 0] * np.array(image_size)
        # The rounding of `eval_input_size` may leave out less than a pixel.
        if np.any(covered >= size + 1):
            shrink = np.min(size / covered)
            transform *= shrink
            transform[:, 2] += (1 - shrink) * size / 2
        return input_size, transform

    return fit
