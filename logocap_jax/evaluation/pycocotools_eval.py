"""pycocotools' evaluation with the OKS of all poses of an image at once.

Its own goes from pose to pose in Python: most of the time of scoring COCO val2017.
"""

from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Float
from pycocotools.cocoeval import COCOeval


class ArrayEval(COCOeval):
    """`COCOeval` of keypoints; the same numbers, to the last bit."""

    # The name is that of the method that it takes the place of.
    def computeOks(
        self, image_id: SupportsIndex, category_id: SupportsIndex
    ) -> Float[np.ndarray, "D G"] | list[Any]:
        """The OKS of each pose to each person; poses by score, as many as count.

        Args:
          image_id: of the image.
          category_id: of poses and people.

        Returns:
          An empty list without poses or people, as pycocotools has it.
        """
        people = self._gts[image_id, category_id]
        poses = self._dts[image_id, category_id]
        if not people or not poses:
            return []
        order = np.argsort([-pose["score"] for pose in poses], kind="mergesort")
        best = order[: self.params.maxDets[-1]]
        found = np.array([poses[index]["keypoints"] for index in best], np.float64)
        sigmas = self.params.kpt_oks_sigmas
        return np.stack([_oks(found, one, sigmas) for one in people], axis=1)


def _oks(
    found: Float[np.ndarray, "D K3"], person: dict[str, Any], sigmas: np.ndarray
) -> Float[np.ndarray, " D"]:
    """OKS of poses to a person; the steps of pycocotools, whose rounding they keep."""
    x_found, y_found = found[:, 0::3], found[:, 1::3]
    truth = np.array(person["keypoints"], np.float64)
    labelled = truth[2::3] > 0
    if labelled.any():
        dx, dy = x_found - truth[0::3], y_found - truth[1::3]
    else:
        # How far outside of a box of thrice the size.
        x, y, width, height = map(float, person["bbox"])
        dx = _outside(x_found, x - width, x + width * 2)
        dy = _outside(y_found, y - height, y + height * 2)
    squares = (dx**2 + dy**2) / (sigmas * 2) ** 2
    error = squares / (person["area"] + np.spacing(1)) / 2
    if labelled.any():
        # Rows next to each other: the order of a sum depends on it.
        error = np.compress(labelled, error, axis=1)
    return np.sum(np.exp(-error), axis=1) / error.shape[1]


def _outside(
    found: Float[np.ndarray, "D K"], low: float, high: float
) -> Float[np.ndarray, "D K"]:
    return np.maximum(0, low - found) + np.maximum(0, found - high)
