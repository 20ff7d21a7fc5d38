"""Local keypoint expansion maps (KEM): a mesh of candidates around each keypoint."""

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from logocap_jax import geometry
from logocap_jax.ops.sampling import bilinear_sample


def mesh_offsets(
    sigmas: Float[np.ndarray, " K"], *, size: int = 11
) -> Float[np.ndarray, "E E K 2"]:
    """Offsets of the mesh's positions from its keypoint, in input px.

    An odd grid of whole steps, both ends included (reference behaviour; the
    paper's listing leaves out the last), times `s_k / min(s)`: keypoints that
    annotators place less precisely get a wider mesh.

    Args:
      sigmas: the skeleton's sigmas.
      size: E.

    Returns:
      `(dx, dy)`, axis 0 runs along y.
    """
    steps = np.arange(size, dtype=np.float32) - size // 2
    x, y = np.meshgrid(steps, steps)
    scale = sigmas / sigmas.min()
    return np.stack([x, y], axis=-1)[:, :, None] * scale[:, None]


def expand(
    keypoints_input: Float[Array, "N K 2"], offsets: Float[np.ndarray, "E E K 2"]
) -> Float[Array, "N E E K 2"]:
    """The mesh of each keypoint, in input px."""
    return keypoints_input[:, None, None] + offsets


def sample_features(
    embedding: Float[Array, "h w D"] | Float[Array, "B h w D"],
    mesh_input: Float[Array, "N E E K 2"],
    valid_size: Int[Array, "2"] | Int[Array, "B 2"] | None = None,
    image: Int[Array, " N"] | None = None,
) -> Float[Array, "N E E KD"]:
    """Embedding at the mesh's positions, stacked keypoint-major (`k * D + c`).

    Args:
      embedding: of one image, or of several.
      mesh_input: meshes, input px.
      valid_size: height and width of each image, input px; None: all is image.
      image: which of several images each mesh is of; None: there is one.

    Returns:
      The features.
    """
    cells = None if valid_size is None else valid_size // geometry.STRIDE

    def sample(mesh: Array, image: tuple[Array, ...]) -> Array:
        slot_cells = None if cells is None else cells[image]
        points = mesh / geometry.STRIDE
        return bilinear_sample(embedding, points, slot_cells, image=image)

    features = jax.vmap(sample)(mesh_input, () if image is None else (image,))
    return features.reshape(*features.shape[:3], -1)  # [N, E, E, K * D]
