"""Local-global contextual adaptation: attraction maps refine heatmap windows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from logocap_jax import geometry
from logocap_jax.codecs import heatmap
from logocap_jax.ops.instance_conv import instance_convolution
from logocap_jax.ops.peaks import top_two
from logocap_jax.ops.sampling import sample_window


def global_windows(
    heatmaps: Float[Array, "h w K1"] | Float[Array, "B h w K1"],
    keypoints_input: Float[Array, "N K 2"],
    *,
    radius: int = 48,
    sigma: float | None = 16.0,
    cutoff: float = 1e-4,
    valid_size: Int[Array, "2"] | Int[Array, "B 2"] | None = None,
    image: Int[Array, " N"] | None = None,
) -> Float[Array, "N K G G"]:
    """Global KEM: reweighed heatmap windows around each initial keypoint.

    Args:
      heatmaps: heatmaps of one image or of several, in cells, those of the keypoints
        first; the windows are those of the maps upsampled to input px.
      keypoints_input: initial keypoints.
      radius: half the window's side, input px.
      sigma: of the Gaussian that weighs the window, input px; None: no weights.
      cutoff: Gaussian values below it are 0 (reference behaviour).
      valid_size: height and width of each image, input px; None: all is image.
      image: which of several images each slot is of; None: there is one.

    Returns:
      The windows, `[y, x]`.
    """
    cells = None if valid_size is None else valid_size // geometry.STRIDE

    def slot_windows(keypoints: Array, image: tuple[Array, ...]) -> Array:
        slot_cells = None if cells is None else cells[image]

        def sample(keypoint: Array, channel: Array) -> Array:
            return sample_window(
                heatmaps,
                keypoint,
                channel,
                radius=radius,
                stride=geometry.STRIDE,
                valid_size=slot_cells,
                image=image,
            )

        return jax.vmap(sample)(keypoints, jnp.arange(len(keypoints)))

    windows = jax.vmap(slot_windows)(keypoints_input, () if image is None else (image,))
    if sigma is None:
        return windows
    return windows * heatmap.gaussian_window(radius=radius, sigma=sigma, cutoff=cutoff)


def adapt(
    windows: Float[Array, "N K G G"], kam: Float[Array, "N E E K"]
) -> Float[Array, "N K G G"]:
    """Convolve each window with its attraction map over the map's size, `KAM / E^2`."""
    slots, num_keypoints, side, _ = windows.shape
    kernel_size = kam.shape[1]
    kernels = jnp.moveaxis(kam, -1, 1) / kernel_size**2  # [N, K, E, E]
    refined = instance_convolution(
        windows.reshape(slots * num_keypoints, side, side),
        kernels.reshape(slots * num_keypoints, kernel_size, kernel_size),
    )
    return refined.reshape(windows.shape)


def refined_targets(
    keypoints_input: Float[Array, "N K 2"],
    truth_input: Float[Array, "N K 2"],
    *,
    radius: int = 48,
    sigma: float = 4.0,
) -> Float[Array, "N K G G"]:
    """Gaussians around the true keypoints, on the windows of the initial ones.

    Args:
      keypoints_input: initial keypoints.
      truth_input: the true keypoints.
      radius: half the window's side, input px.
      sigma: in input px, whatever the person's scale (reference behaviour).

    Returns:
      The targets, `[y, x]`.
    """
    side = 2 * radius + 1

    def render(center: Array) -> Array:
        return heatmap.gaussian_at(center, height=side, width=side, sigma=sigma)

    return jax.vmap(jax.vmap(render))(truth_input - keypoints_input + radius)


def read_peaks(
    refined: Float[Array, "N K G G"],
    keypoints_input: Float[Array, "N K 2"],
    *,
    first_share: float = 0.75,
) -> tuple[Float[Array, "N K 2"], Float[Array, "N K"]]:
    """Refined keypoints from the two largest values of each map.

    Args:
      refined: adapted windows.
      keypoints_input: initial keypoints, the windows' centres.
      first_share: weight of the largest value and its place; the second largest has
        the rest (reference behaviour).

    Returns:
      Refined keypoints in input px, and their scores.
    """
    positions, values = jax.vmap(jax.vmap(top_two))(refined)
    radius = refined.shape[-1] // 2

    def blend(pair: Array, axis: int) -> Array:
        first, second = jnp.moveaxis(pair, axis, 0)
        return first_share * first + (1 - first_share) * second

    return keypoints_input + blend(positions, 2) - radius, blend(values, 2)


def best_of_kam(
    kam: Float[Array, "N E E K"], mesh_input: Float[Array, "N E E K 2"]
) -> tuple[Float[Array, "N K 2"], Float[Array, "N K"]]:
    """Ablation *local*: per keypoint the mesh position of the largest attraction.

    Args:
      kam: attraction maps, clipped to 0..1.
      mesh_input: meshes, input px.

    Returns:
      Keypoints in input px, and their scores, the attraction there (the reference
      multiplies them with the pose's centre value, as all keypoint scores).
    """
    slots, mesh_size, _, num_keypoints = kam.shape
    flat = kam.reshape(slots, mesh_size * mesh_size, num_keypoints)
    best = jnp.argmax(flat, axis=1)[:, None]  # [N, 1, K]
    mesh = mesh_input.reshape(slots, mesh_size * mesh_size, num_keypoints, 2)
    keypoints = jnp.take_along_axis(mesh, best[..., None], axis=1)[:, 0]
    return keypoints, jnp.take_along_axis(flat, best, axis=1)[:, 0]
