"""What LOGO-CAP saw on its way to the poses: the maps that explain them."""

import jax
from jaxtyping import Array, Int, UInt8

from logocap_jax.inference.pose_nms import suppress
from logocap_jax.methods import initial_poses
from logocap_jax.methods.base import Explanation, Variables, part
from logocap_jax.methods.logocap.config import Parts
from logocap_jax.methods.logocap.prediction import predict_kam, read_maps


def explain(
    parts: Parts,
    variables: Variables,
    image: UInt8[Array, "B H W 3"],
    valid_size: Int[Array, "B 2"] | None = None,
) -> Explanation:
    """Find poses as `prediction.predict` does, and keep the maps that lead to them.

    Args:
      parts: settings and networks.
      variables: parameters and batch statistics.
      image: input images; H and W are multiples of 32.
      valid_size: as for `prediction.predict`.
    """
    maps = initial_poses.predict_maps(
        *(parts.dense, part(variables, "dense"), initial_poses.normalise(image)),
        *(parts.config, valid_size),
    )
    initial = jax.vmap(
        lambda center, offsets, valid_size: initial_poses.decode_initial(
            center, offsets, parts.config, valid_size
        )
    )(maps.heatmaps[..., -1], maps.offsets, valid_size)
    kam = predict_kam(parts, part(variables, "maps"), maps, initial, valid_size)
    slots = read_maps(parts, part(variables, "maps"), maps, valid_size)["logocap"]
    poses, order = jax.vmap(suppress)(slots)
    kam = jax.vmap(lambda kam, order: kam[order])(kam, order)
    return Explanation(poses, maps.heatmaps, kam)
