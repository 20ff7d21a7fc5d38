"""What LOGO-CAP saw on its way to the poses: the maps that explain them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logocap_jax.inference.pose_nms import suppress
from logocap_jax.methods import initial_poses
from logocap_jax.methods.base import Explanation, PatchLayer, Variables, subtree
from logocap_jax.methods.logocap.config import Model
from logocap_jax.methods.logocap.prediction import predict_kam, read_maps
from logocap_jax.structures import View


def explain(
    model: Model,
    variables: Variables,
    view: View,
) -> Explanation:
    """Find poses as `prediction.predict` does, and keep the maps that lead to them.

    Args:
      model: settings and networks.
      variables: parameters and batch statistics.
      view: as for `prediction.predict`.
    """
    valid_size = view.valid_size
    maps = initial_poses.predict_maps(
        *(model.dense, subtree(variables, "dense")),
        initial_poses.normalise(view.image),
        *(model.config, valid_size),
    )
    initial = jax.vmap(
        lambda center, offsets, valid_size: initial_poses.decode_initial(
            center, offsets, model.config, valid_size
        )
    )(maps.heatmaps[..., -1], maps.offsets, valid_size)
    kam = predict_kam(model, subtree(variables, "maps"), maps, initial, valid_size)
    slots = read_maps(model, subtree(variables, "maps"), maps, valid_size)["logocap"]
    poses = jax.vmap(suppress)(slots)
    ordered = poses.initial_keypoints
    assert ordered is not None  # `read_maps` sets them
    kam = jax.vmap(_in_order_of)(ordered, initial.keypoints, kam)
    radius = tuple(np.abs(model.mesh_offsets[0, 0, :, 0]).tolist())
    layers = initial_poses.heatmap_layers(maps, model.config)
    return Explanation({"logocap": poses}, {**layers, "kam": PatchLayer(kam, radius)})


def _in_order_of(
    ordered: Float[Array, "N K 2"],
    keypoints: Float[Array, "N K 2"],
    kam: Float[Array, "N E E K"],
) -> Float[Array, "N E E K"]:
    """Attraction maps in the order that pose NMS has left.

    It carries the initial keypoints of each slot along unchanged, and these tell from
    which slot a pose comes.
    """
    difference = jnp.abs(ordered[:, None] - keypoints[None])  # [N, N, K, 2]
    return kam[jnp.argmin(jnp.sum(difference, axis=(2, 3)), axis=1)]
