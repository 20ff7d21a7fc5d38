"""The one record that every source yields: an encoded image and its people."""

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Bool, Float32, Int8


@dataclasses.dataclass(frozen=True)
class ImageRecord:
    """One image and its `n` annotated people, in original image pixels.

    Attributes:
      image_id: number of the image in its data set.
      file_name: path of the image inside its image folder.
      width: pixels.
      height: pixels.
      keypoints: `(x, y)`, image px; arbitrary where `visibility` is 0.
      visibility: 0 not labelled, 1 labelled but hidden, 2 visible.
      bbox: `(x, y, width, height)`, image px.
      area: area of the person as annotated, image px^2.
      iscrowd: the annotation covers a group of people.
      segmentation: per person COCO's `segmentation` (polygons or run lengths) as
        JSON text, empty where the loss mask does not need it or there is none.
      image: the encoded image, or the file that holds it.
    """

    image_id: int
    file_name: str
    width: int
    height: int
    keypoints: Float32[np.ndarray, "n K 2"]
    visibility: Int8[np.ndarray, "n K"]
    bbox: Float32[np.ndarray, "n 4"]
    area: Float32[np.ndarray, " n"]
    iscrowd: Bool[np.ndarray, " n"]
    segmentation: tuple[str, ...]
    image: pathlib.Path | bytes

    @property
    def name(self) -> str:
        """How error messages call this record."""
        return f"image {self.image_id} ({self.file_name!r})"

    @property
    def has_people(self) -> bool:
        """At least one person has a labelled keypoint."""
        return bool((self.visibility > 0).any())
