"""What LOGO-CAP saw on its way to the poses: the maps that explain them."""

import jax
import numpy as np

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
    poses, order = jax.vmap(suppress)(slots)
    kam = jax.vmap(lambda kam, order: kam[order])(kam, order)
    radius = tuple(np.abs(model.mesh_offsets[0, 0, :, 0]).tolist())
    layers = initial_poses.heatmap_layers(maps, model.config)
    return Explanation({"logocap": poses}, {**layers, "kam": PatchLayer(kam, radius)})
