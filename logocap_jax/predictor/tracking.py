"""Ids for the people of a film, greedily by OKS from frame to frame."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from logocap_jax.oks import keypoint_similarity
from logocap_jax.predictor.poses import Poses

# Poses and tracks are padded to multiples of this, so that few shapes are compiled.
_SLOTS = 32


@dataclasses.dataclass
class _Track:
    number: int
    keypoints: Float[np.ndarray, "K 2"]
    last_seen: int


class Tracker:
    """Follows people through the frames of one film.

    A pose continues the track whose last pose is most like it, best pairs first; a
    pose without a track begins one. A track that nobody continues is remembered for a
    while.
    """

    def __init__(self, *, memory: int = 30, min_similarity: float = 0.3) -> None:
        """Start without tracks.

        Args:
          memory: frames for which a lost person is remembered.
          min_similarity: mean OKS from which a pose continues a track.

        Raises:
          ValueError: if a number makes no sense.
        """
        if memory < 0 or not 0 < min_similarity <= 1:
            raise ValueError(
                f"got memory={memory}, min_similarity={min_similarity}, expected 0 or "
                "more, and more than 0 up to 1"
            )
        self._memory, self._min_similarity = memory, min_similarity
        self._tracks: list[_Track] = []
        self._frame = 0
        self._next = 1

    def update(self, poses: Poses) -> Int[np.ndarray, " n"]:
        """Take the poses of the next frame.

        Returns:
          The id of each pose, from 1 on.
        """
        self._frame += 1
        oldest = self._frame - self._memory - 1
        self._tracks = [track for track in self._tracks if track.last_seen >= oldest]
        numbers = np.zeros(len(poses), int)
        for pose, track in self._pairs(poses):
            numbers[pose] = track.number
            track.keypoints, track.last_seen = poses.keypoints[pose], self._frame
        for pose in np.flatnonzero(numbers == 0).tolist():
            numbers[pose] = self._next
            track = _Track(self._next, poses.keypoints[pose], self._frame)
            self._tracks.append(track)
            self._next += 1
        return numbers

    def _pairs(self, poses: Poses) -> list[tuple[int, _Track]]:
        """Poses and the tracks that they continue, each at most once."""
        if not self._tracks or not len(poses):
            return []
        similarity = self._similarity(poses)
        pairs: dict[int, int] = {}
        for index in np.argsort(-similarity, axis=None, kind="stable"):
            pose, row = (int(i) for i in np.unravel_index(index, similarity.shape))
            if similarity[pose, row] < self._min_similarity:
                break
            if pose not in pairs and row not in pairs.values():
                pairs[pose] = row
        return [(pose, self._tracks[row]) for pose, row in pairs.items()]

    def _similarity(self, poses: Poses) -> Float[np.ndarray, "n m"]:
        """Mean OKS of each pose and each track's last pose."""
        last = np.stack([track.keypoints for track in self._tracks])
        sigmas = poses.skeleton.sigma_array
        similarity = _mean_oks(_padded(poses.keypoints), _padded(last), sigmas)
        return np.asarray(similarity)[: len(poses), : len(last)]


@jax.jit
def _mean_oks(
    points: Float[Array, "N K 2"], last: Float[Array, "M K 2"], sigmas: Array
) -> Float[Array, "N M"]:
    """Mean OKS, with the box around a track's keypoints as its area."""
    area = jnp.prod(jnp.max(last, axis=1) - jnp.min(last, axis=1), axis=-1)
    per_track = jax.vmap(keypoint_similarity, in_axes=(None, 0, 0, None))
    similarity = per_track(points, last, jnp.maximum(area, 1), jnp.asarray(sigmas))
    return jnp.mean(similarity, axis=-1).T


def _padded(rows: np.ndarray) -> np.ndarray:
    missing = -len(rows) % _SLOTS
    return np.pad(rows, [(0, missing), *[(0, 0)] * (rows.ndim - 1)])
