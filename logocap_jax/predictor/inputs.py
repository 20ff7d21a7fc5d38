"""From an image to the network's input."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from data_pipeline.feed import affine
from logocap_jax.predictor.fitting import Fit, Size
from logocap_jax.predictor.images import ImageLike, read_image


class Input(NamedTuple):
    """An image as the network takes it.

    Attributes:
      pixels: RGB canvas; black outside of `valid_size`.
      valid_size: height and width of the image in it, from the first row and column on.
      input_to_image: from input px to pixels of the original image.
    """

    pixels: UInt8[np.ndarray, "H W 3"]
    valid_size: tuple[int, int]
    input_to_image: Float[np.ndarray, "2 3"]


def make_input(image: ImageLike, fit: Fit, canvas: Callable[[Size], Size]) -> Input:
    """Read an image and warp it to the network's input.

    Args:
      image: as `images.read_image` takes it.
      fit: chooses the size of the input, and the image's place in it.
      canvas: size of an input -> size of the array that holds it.

    Raises:
      ValueError: if it is no image, or none that fits.
    """
    pixels = read_image(image)
    size, transform = fit((pixels.shape[1], pixels.shape[0]))
    inverse = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]
    width, height = canvas(size)
    held = np.zeros((height, width, 3), np.uint8)
    held[: size[1], : size[0]] = affine.warp_image(pixels, transform, size=size)
    return Input(held, (size[1], size[0]), inverse)
