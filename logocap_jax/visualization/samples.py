"""Places on the image that keypoints were computed from."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from logocap_jax.visualization.canvas import Color

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_MARGIN = 1.2  # of the picture around what is drawn
_LEAST = 8.0  # image px from the middle to the border


class Samples(NamedTuple):
    """The sampled places of one person."""

    points: Float[np.ndarray, "K S 2"]  #: of each keypoint, image px
    middle: Float[np.ndarray, "2"]  #: place whose features became the pose, image px
    keypoints: Float[np.ndarray, "K 2"]  #: image px

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.points)

    def draw_tile(
        self, image: UInt8[np.ndarray, "H W 3"], index: int, color: Color, side: int
    ) -> UInt8[np.ndarray, "{side} {side} 3"]:
        """Draw one keypoint: dots are its samples, the ring the middle of the pose.

        The large dot is the keypoint. Most of the samples lie in the picture, the
        farthest may not.

        Args:
          image: RGB.
          index: of the keypoint.
          color: of the keypoint.
          side: of the picture, px.
        """
        points, keypoint = self.points[index], self.keypoints[index]
        reach = np.quantile(np.abs(points - self.middle).max(axis=-1), 0.9)
        reach = max(reach, np.abs(keypoint - self.middle).max(), _LEAST)
        scale = side / (2 * _MARGIN * reach)
        shift = (side - 1) / 2 - scale * self.middle
        to_tile = np.column_stack([scale * np.eye(2), shift])
        tile = cv2.warpAffine(image, to_tile, (side, side), flags=cv2.INTER_LINEAR)
        tile = (0.7 * tile).astype(np.uint8)
        unit = max(2, side // 48)

        def dot(point: np.ndarray, radius: int, color: Color, width: int) -> None:
            place = np.clip(np.rint(scale * point + shift), -side, 2 * side)
            center = tuple(place.astype(int).tolist())
            cv2.circle(tile, center, radius, color, width, cv2.LINE_AA)

        for point in points:
            dot(point, unit, _BLACK, cv2.FILLED)
            dot(point, max(1, unit - 1), _WHITE, cv2.FILLED)
        dot(self.middle, 3 * unit, _WHITE, max(1, unit // 2))
        dot(keypoint, 3 * unit, _BLACK, cv2.FILLED)
        dot(keypoint, 2 * unit, color, cv2.FILLED)
        return tile
