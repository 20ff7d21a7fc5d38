"""Random similarity of a training image: rotation, scale, translation, mirror."""

import dataclasses

import numpy as np
from jaxtyping import Float64

from data_pipeline.feed.affine import train_affine


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
        reference_crop: float = 200.0,
    ) -> tuple[Float64[np.ndarray, "2 3"], bool]:
        """Draw a transform (image px to input px), and a flag to mirror after it.

        `image_size` is `(width, height)`, image px; `input_size` the side of the square
        input, input px. `translation` is meant for a crop of `reference_crop` px.
        """
        scale = rng.uniform(self.scale_min, self.scale_max)
        rotation = rng.uniform(-self.rotation_deg, self.rotation_deg)
        reach = int(self.translation * scale * min(image_size) / reference_crop)
        dx, dy = rng.integers(-reach, reach, size=2, endpoint=True)
        affine = train_affine(
            image_size=image_size,
            input_size=input_size,
            scale=scale,
            rotation_deg=rotation,
            translation=(float(dx), float(dy)),
        )
        return affine, bool(rng.random() < self.mirror)
