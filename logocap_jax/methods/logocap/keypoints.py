"""Refined keypoints, by XLA's operations or by one kernel."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from logocap_jax import geometry
from logocap_jax.methods.logocap import refine
from logocap_jax.ops.sampling import window_cells
from logocap_jax.ops.window_peaks import window_peaks


def refine_keypoints(
    heatmaps: Float[Array, "h w K1"] | Float[Array, "B h w K1"],
    keypoints_input: Float[Array, "N K 2"],
    kam: Float[Array, "N E E K"],
    *,
    radius: int,
    sigma: float | None,
    valid_size: Int[Array, "2"] | Int[Array, "B 2"] | None = None,
    image: Int[Array, " N"] | None = None,
    fused: bool = False,
) -> tuple[Float[Array, "N K 2"], Float[Array, "N K"]]:
    """Adapt the windows around initial keypoints, and read their peaks.

    Args:
      heatmaps: as for `refine.global_windows`.
      keypoints_input: initial keypoints.
      kam: attraction maps.
      radius: half the window's side, input px.
      sigma: as for `refine.global_windows`.
      valid_size: height and width of each image, input px; None: all is image.
      image: which of several images each slot is of; None: there is one.
      fused: where this runs on a TPU, do it in one kernel, which has no gradient.

    Returns:
      As `refine.read_peaks`: refined keypoints in input px, and their scores.
    """
    inputs = heatmaps, keypoints_input, kam, valid_size, image
    by_parts = functools.partial(_refine_by_parts, radius=radius, sigma=sigma)
    if not fused:
        return by_parts(*inputs)
    at_once = functools.partial(refine_fused, radius=radius, sigma=sigma)
    return lax.platform_dependent(*inputs, tpu=at_once, default=by_parts)


def _refine_by_parts(
    heatmaps: Array,
    keypoints_input: Array,
    kam: Array,
    valid_size: Array | None,
    image: Array | None,
    **window: Any,
) -> tuple[Float[Array, "N K 2"], Float[Array, "N K"]]:
    windows = refine.global_windows(
        *(heatmaps, keypoints_input),
        valid_size=valid_size,
        image=image,
        **window,
    )
    return refine.read_peaks(refine.adapt(windows, kam), keypoints_input)


def refine_fused(
    heatmaps: Array,
    keypoints_input: Array,
    kam: Array,
    valid_size: Array | None,
    image: Array | None,
    *,
    radius: int,
    sigma: float | None,
    interpret: bool = False,
) -> tuple[Float[Array, "N K 2"], Float[Array, "N K"]]:
    """What `refine_keypoints` does on TPUs; `interpret`: on any device, slowly."""
    slots, kinds = keypoints_input.shape[:2]
    if valid_size is None:
        within = jnp.asarray(heatmaps.shape[-3:-1])
    else:
        within = (valid_size if image is None else valid_size[image]) // geometry.STRIDE
    within = jnp.broadcast_to(within, (slots, 2))

    def read(
        point: Array, kind: Array, within: Array, image: tuple[Array, ...]
    ) -> tuple[Array, Array]:
        return window_cells(
            *(heatmaps, point, kind),
            radius=radius,
            stride=geometry.STRIDE,
            valid_size=within,
            image=image,
        )

    of_slot = jax.vmap(read, in_axes=(0, 0, None, None))
    cells, first = jax.vmap(of_slot, in_axes=(0, None, 0, 0))(
        *(keypoints_input, jnp.arange(kinds), within),
        () if image is None else (image,),
    )
    # As many windows as there are keypoints of all slots.
    valid_sizes = jnp.repeat(within, kinds, axis=0)
    kernels = jnp.moveaxis(kam, -1, 1) / kam.shape[1] ** 2
    positions, values = window_peaks(
        lax.collapse(cells, 0, 2),
        lax.collapse(first, 0, 2),
        lax.collapse(keypoints_input, 0, 2),
        valid_sizes,
        lax.collapse(kernels, 0, 2),
        refine.reweighing(radius=radius, sigma=sigma),
        stride=geometry.STRIDE,
        interpret=interpret,
    )
    return refine.blend_peaks(
        positions.reshape(slots, kinds, 2, 2),
        values.reshape(slots, kinds, 2),
        keypoints_input,
        radius=radius,
    )
