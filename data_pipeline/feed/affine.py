"""Similarity transforms between image and input pixels, also random ones.

Frames: `image` (original pixels), `input` (network pixels); pixel centers at
integers. A transform is a 2x3 matrix `M` with `x_input = M @ (x_image, 1)`.
"""

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

_MAX_SIDE = 16_384  # of an input at test time, px
_REFERENCE_CROP = 200.0  # that `Augmentation.translation` is meant for, px


def train_affine(
    *,
    image_size: tuple[int, int],
    input_size: int,
    scale: float,
    rotation_deg: float,
    translation: tuple[float, float],
) -> Float64[np.ndarray, "2 3"]:
    """Transform of an augmented square crop.

    The image's middle plus `translation` (image px) goes to the middle of the input;
    around it the image is rotated (degrees, clockwise on the screen) and scaled, until
    `scale` of its short side fills `input_size` px. Reference behaviour: the middle is
    `(width/2, height/2)`, not rounded, unlike at test time.
    """
    width, height = image_size
    center_image = np.array([width, height]) / 2 + translation
    angle = np.deg2rad(rotation_deg)
    factor = input_size / (scale * min(width, height))
    linear = factor * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    offset = input_size / 2 - linear @ center_image
    return np.concatenate([linear, offset[:, None]], axis=1)


def eval_input_size(
    image_size: tuple[int, int],
    *,
    short_side: int,
    multiple: int = 64,
    rounding: str = "half up",
) -> tuple[int, int]:
    """Input `(width, height)` for an image `(width, height)` at test time.

    The short side becomes `short_side` rounded up to a multiple of `multiple`, the
    long side keeps the aspect, rounded up likewise; before that, with `half up`, it is
    cut to whole pixels (reference behaviour).

    Raises:
      ValueError: if the image is so narrow that the long side exceeds 16,384 px.
    """
    short_input = -(-short_side // multiple) * multiple
    width, height = image_size
    short, long = min(width, height), max(width, height)
    if rounding == "half up":
        cut = int(short_input * (long / short) + multiple - 1)
        long_input = cut // multiple * multiple
    else:
        # In the reference's order: an error of rounding adds a whole multiple.
        by_factor = rounding == "half even"
        exact = short_input / short * long if by_factor else short_input * long / short
        long_input = math.ceil(exact / multiple) * multiple
    if long_input > _MAX_SIDE:
        raise ValueError(
            f"got an image of {width}x{height}, whose input would be {long_input} px "
            f"long, expected <= {_MAX_SIDE}"
        )
    if width < height:
        return short_input, long_input
    return long_input, short_input


def eval_affine(
    image_size: tuple[int, int],
    input_size: tuple[int, int],
    rounding: str = "half up",
) -> Float64[np.ndarray, "2 3"]:
    """Map the whole image to the input at test time: isotropic, middle to middle.

    Sizes are `(width, height)`; that of the input is from `eval_input_size`. Halves of
    the image's middle are rounded up (reference behaviour), to even numbers, or left.
    """
    scale = min(input_size) / min(image_size)
    middle = np.array(image_size) / 2
    center_image = {
        "half up": np.floor(middle + 0.5),
        "half even": np.round(middle),
        "none": middle,
    }[rounding]
    offset = np.array(input_size) / 2 - scale * center_image
    return np.concatenate([scale * np.eye(2), offset[:, None]], axis=1)


def area_scale(affine: Float64[np.ndarray, "2 3"]) -> float:
    """Factor from image px^2 to input px^2."""
    return float(abs(np.linalg.det(affine[:, :2])))


def transform_points(
    points: Float[np.ndarray, "*n 2"], affine: Float64[np.ndarray, "2 3"]
) -> Float64[np.ndarray, "*n 2"]:
    """Move points `(x, y)` by a transform."""
    return points @ affine[:, :2].T + affine[:, 2]


def transform_boxes(
    boxes: Float[np.ndarray, "*n 4"], affine: Float64[np.ndarray, "2 3"]
) -> Float64[np.ndarray, "*n 4"]:
    """Smallest upright boxes around moved ones, `x0 y0 x1 y1`; middles stay middles."""
    middle = transform_points((boxes[..., :2] + boxes[..., 2:]) / 2, affine)
    half = (boxes[..., 2:] - boxes[..., :2]) / 2 @ abs(affine[:, :2]).T
    return np.concatenate([middle - half, middle + half], axis=-1)


def mirror_affine(
    affine: Float64[np.ndarray, "2 3"], width: int
) -> Float64[np.ndarray, "2 3"]:
    """The transform followed by mirroring an input of `width` px."""
    mirrored = affine.copy()
    mirrored[0] = -affine[0]
    mirrored[0, 2] += width - 1
    return mirrored


def invert_affine(affine: Float64[np.ndarray, "2 3"]) -> Float64[np.ndarray, "2 3"]:
    """The transform back."""
    return np.linalg.inv(np.vstack([affine, [0.0, 0.0, 1.0]]))[:2]


def warp_image(
    image: UInt8[np.ndarray, "H0 W0 3"],
    affine: Float64[np.ndarray, "2 3"],
    *,
    size: tuple[int, int],
) -> UInt8[np.ndarray, "H W 3"]:
    """Warp an image to `size` (width, height), bilinear, black outside of it."""
    return cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Ranges to draw from; the defaults are those of the reference."""

    rotation_deg: float = 30.0  #: uniform in plus or minus this
    #: Crop's side as a share of the image's short side, uniform from here.
    scale_min: float = 0.75
    scale_max: float = 1.5  #: to here
    #: Whole pixels, uniform in plus or minus this, for a crop of 200 px; it grows with
    #: the crop.
    translation: float = 40.0
    mirror: float = 0.5  #: probability of mirroring

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
          ValueError: if one is empty or has no meaning.
        """
        if not 0 < self.scale_min <= self.scale_max:
            raise ValueError(
                f"augmentation: got scales {self.scale_min} to {self.scale_max}, "
                "expected 0 < scale_min <= scale_max"
            )
        if not 0 <= self.mirror <= 1:
            raise ValueError(
                f"augmentation: got mirror={self.mirror}, expected a probability"
            )
        if not (0 <= self.rotation_deg <= 180 and self.translation >= 0):
            raise ValueError(
                f"augmentation: got rotation_deg={self.rotation_deg}, "
                f"translation={self.translation}, expected 0 to 180 and >= 0"
            )

    @classmethod
    def none(cls) -> "Augmentation":
        """No augmentation: the middle square of the image, short side to input."""
        return cls(
            rotation_deg=0.0, scale_min=1.0, scale_max=1.0, translation=0.0, mirror=0.0
        )

    def draw(
        self,
        rng: np.random.Generator,
        *,
        image_size: tuple[int, int],
        input_size: int,
    ) -> tuple[Float64[np.ndarray, "2 3"], bool]:
        """Draw a transform (image px to input px), and a flag to mirror after it.

        `image_size` is `(width, height)`, image px; `input_size` the side of the square
        input, input px.
        """
        scale = rng.uniform(self.scale_min, self.scale_max)
        rotation = rng.uniform(-self.rotation_deg, self.rotation_deg)
        reach = int(self.translation * scale * min(image_size) / _REFERENCE_CROP)
        # Reference behaviour: without the upper end.
        dx, dy = rng.integers(-reach, max(reach, 1), size=2)
        affine = train_affine(
            image_size=image_size,
            input_size=input_size,
            scale=scale,
            rotation_deg=rotation,
            translation=(float(dx), float(dy)),
        )
        return affine, bool(rng.random() < self.mirror)
