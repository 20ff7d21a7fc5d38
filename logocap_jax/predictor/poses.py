"""The people of one image, in pixels of that image."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from logocap_jax.evaluation.people import suppress_people
from logocap_jax.evaluation.results import ImagePoses, to_coco
from logocap_jax.predictor.inputs import ImageLike, read_image
from logocap_jax.skeletons import Skeleton
from logocap_jax.visualization.overlay import draw_poses

if TYPE_CHECKING:
    import supervision


@dataclasses.dataclass(frozen=True)
class Poses:
    """Poses of one image, best centre first; all in pixels of the original image."""

    keypoints: Float[np.ndarray, "n K 2"]  #: pixel centres at integers
    keypoint_scores: Float[np.ndarray, "n K"]  #: one score per keypoint
    scores: Float[np.ndarray, " n"]  #: one score per pose
    #: The rough keypoints that were refined; None: unknown.
    initial_keypoints: Float[np.ndarray, "n K 2"] | None
    skeleton: Skeleton  #: names of the K keypoints, limbs
    best_left_out: float | None = None  #: best score of poses that `above` has left out

    def __len__(self) -> int:
        """Number of people."""
        return len(self.scores)

    @property
    def boxes(self) -> Float[np.ndarray, "n 4"]:
        """`x0, y0, x1, y1` of the box around all keypoints of each pose."""
        low, high = self.keypoints.min(axis=1), self.keypoints.max(axis=1)
        return np.concatenate([low, high], axis=1)

    def above(self, score: float) -> "Poses":
        """The poses whose score is at least `score`."""
        kept = self.scores >= score
        others = self.scores[~kept].tolist()
        initial = self.initial_keypoints
        return dataclasses.replace(
            self,
            keypoints=self.keypoints[kept],
            keypoint_scores=self.keypoint_scores[kept],
            scores=self.scores[kept],
            initial_keypoints=None if initial is None else initial[kept],
            best_left_out=max(others, default=self.best_left_out),
        )

    def before_refinement(self) -> "Poses":
        """The poses with their initial keypoints; unchanged where none are known."""
        if self.initial_keypoints is None:
            return self
        return dataclasses.replace(self, keypoints=self.initial_keypoints)

    def to_coco(self, image_id: int, *, category_id: int = 1) -> list[dict[str, Any]]:
        """COCO keypoint results; see `evaluation.results.to_coco`."""
        poses = ImagePoses(image_id, self.keypoints, self.keypoint_scores, self.scores)
        return to_coco([poses], category_id=category_id)

    def to_supervision(self) -> "supervision.KeyPoints":
        """As `supervision.KeyPoints`, for its annotators and trackers.

        All people are of class 0.

        Raises:
          ImportError: if `supervision` is not installed.
        """
        import supervision

        return supervision.KeyPoints(
            xy=self.keypoints,
            class_id=np.zeros(len(self), int),
            keypoint_confidence=self.keypoint_scores,
            detection_confidence=self.scores,
        )

    def draw(
        self,
        image: ImageLike,
        *,
        initial: bool = False,
        labels: Sequence[str] | None = None,
        min_side: int = 512,
    ) -> UInt8[np.ndarray, "H2 W2 3"]:
        """Draw the poses over their image.

        Keypoints with less than a tenth of their pose's score are left out: these
        scores are products with that of the pose's centre.

        Args:
          image: as it was given to the predictor; left unchanged.
          initial: draw the poses before refinement thin over the refined ones, where
            they are known.
          labels: texts to write above the poses instead of their scores.
          min_side: an image whose long side is shorter is enlarged to it.

        Returns:
          RGB; see `visualization.overlay.draw_poses`.

        Raises:
          ValueError: if it is no image, or cannot be read.
        """
        shares = self.keypoint_scores / np.maximum(self.scores, 1e-12)[:, None]
        thick = dataclasses.replace(self, keypoint_scores=shares)
        thin = initial and self.initial_keypoints is not None
        return draw_poses(
            read_image(image),
            thick,
            thick.before_refinement() if thin else None,
            skeleton=self.skeleton,
            min_keypoint_score=0.1,
            min_score=-np.inf,
            labels=labels,
            min_side=min_side,
        )


def join_people(
    found: Sequence[Poses],
    *,
    box_scores: Float[np.ndarray, " n"],
    areas: Float[np.ndarray, " n"],
    skeleton: Skeleton,
    threshold: float,
) -> Poses:
    """One image's people from one pose each, best first, without duplicates.

    Args:
      found: the pose of each crop.
      box_scores: factors of their scores.
      areas: of the crops, image px^2.
      skeleton: of the poses.
      threshold: as for `suppress_people`.
    """
    count = skeleton.num_keypoints
    keypoints = np.concatenate(
        [np.zeros((0, count, 2), np.float32), *(poses.keypoints for poses in found)]
    )
    keypoint_scores = np.concatenate(
        [np.zeros((0, count), np.float32), *(poses.keypoint_scores for poses in found)]
    )
    each = [poses.scores[0] for poses in found]
    scores = (np.array(each) * box_scores).astype(np.float32)
    kept = suppress_people(
        keypoints, scores, areas, sigmas=skeleton.sigma_array, threshold=threshold
    )
    arrays = (keypoints[kept], keypoint_scores[kept], scores[kept])
    return Poses(*arrays, None, skeleton)
