"""The stages of inference, each a function that the reference's arrays can be fed to.

Everything between the network and the poses is computed for `2 N` or fewer rows of one
image; arrays carry the names that they have in a case.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from data_pipeline.feed import affine
from logocap_jax import geometry
from logocap_jax.codecs import heatmap, offset
from logocap_jax.inference import flip
from logocap_jax.methods import initial_poses
from logocap_jax.methods.base import Variables, subtree
from logocap_jax.methods.initial_poses import InitialPoses
from logocap_jax.methods.logocap import expansion, prediction, refine
from logocap_jax.methods.logocap.config import LogoCapConfig, build_model
from logocap_jax.models.dense import Head
from logocap_jax.structures import DenseMaps, Poses

# Arrays by their names in a case, of JAX or NumPy.
Maps = dict[str, Any]


def warp(
    image: UInt8[np.ndarray, "H0 W0 3"], *, short_side: int
) -> tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "2 3"]]:
    """The input at test time, and the transform from original to input px."""
    image_size = (image.shape[1], image.shape[0])
    size = affine.eval_input_size(image_size, short_side=short_side)
    transform = affine.eval_affine(image_size, size)
    return affine.warp_image(image, transform, size=size), transform


class InferenceStages:
    """The stages of one model; each is compiled once per shape.

    Attributes:
      config: settings.
      network: normalised images `[R, H, W, 3]` -> `features` and raw maps.
      heads: features -> raw maps.
      merge: raw maps -> maps of the image, `[h, w, ...]`, flip-averaged if `R = 2`.
      upsample: averaged heatmaps -> centre heatmap `[H, W]` in input px.
      centers: that -> positions and values, twice as many as there are slots.
      initial: offsets `[h, w, K, 2]`, centers -> initial keypoints.
      mesh: initial keypoints -> mesh.
      latent: embedding `[h, w, D]`, mesh -> mesh features.
      kam: mesh features -> attraction maps, not clipped.
      windows: averaged heatmaps, initial keypoints -> reweighed windows.
      adapt: windows, attraction maps -> refined windows.
      peaks: refined windows, initial keypoints -> keypoints and scores.
      poses: by result set, (averaged heatmaps, `InitialPoses`, attraction maps) ->
        `Poses`.
    """

    def __init__(self, config: LogoCapConfig, variables: Variables) -> None:
        """Compile nothing yet.

        Args:
          config: settings.
          variables: of the whole model.
        """
        model = build_model(config)
        dense, maps = subtree(variables, "dense"), subtree(variables, "maps")
        self.config = config
        self.network = _compile(functools.partial(_network, model.dense), dense)
        self.heads = _compile(functools.partial(_heads, config), dense)
        self.merge = jax.jit(functools.partial(_merge, config))
        self.upsample = jax.jit(
            lambda heatmaps: geometry.upsample_to_input(heatmaps[..., -1:])[..., 0]
        )
        self.centers = jax.jit(
            lambda center_map: heatmap.decode_centers(
                center_map, count=2 * config.num_slots
            )[:2]
        )
        self.initial = jax.jit(offset.decode)
        self.mesh = jax.jit(lambda points: expansion.expand(points, model.mesh_offsets))
        self.latent = jax.jit(expansion.sample_features)
        self.kam = _compile(
            lambda tree, latent: model.maps.apply(tree, latent, train=False), maps
        )
        self.windows = jax.jit(
            functools.partial(
                refine.global_windows,
                radius=config.window_radius,
                sigma=config.window_sigma,
            )
        )
        self.adapt = jax.jit(lambda windows, kam: refine.adapt(windows, _clip(kam)))
        self.peaks = jax.jit(refine.read_peaks)
        self.poses: dict[str, Callable[..., Poses]] = {
            "logocap": jax.jit(
                lambda heatmaps, initial, kam: prediction.refine_image(
                    model, heatmaps[..., :-1], initial, _clip(kam)
                )
            ),
            "initial": jax.jit(
                lambda heatmaps, initial, kam: initial_poses.score_initial(
                    initial, heatmaps[..., :-1]
                )
            ),
            "local": jax.jit(
                lambda heatmaps, initial, kam: _local_poses(
                    initial,
                    _clip(kam),
                    expansion.expand(initial.keypoints, model.mesh_offsets),
                )
            ),
        }

    def from_network(self, images: Float[Array, "R H W 3"]) -> Maps:
        """All dense maps of an image, under their names in a case."""
        raw = self.network(images)
        merged = self.merge(raw)
        return raw | {
            "offsets": merged.offsets[None],
            "center_heatmap_fullres": self.upsample(merged.heatmaps)[None, ..., None],
        }

    def from_centers(
        self, raw: Maps, centers: Float[np.ndarray, "N 2"]
    ) -> tuple[Maps, Float[Array, "N K 2"]]:
        """What follows from the centers, slot by slot, and the initial keypoints."""
        merged = self.merge({name: raw[name] for name in RAW})
        points = self.initial(merged.offsets, centers)
        mesh = self.mesh(points)
        latent = self.latent(merged.embedding, mesh)
        kam = self.kam(latent)
        windows = self.windows(merged.heatmaps[..., :-1], points)
        slots = {
            "kem_grid": mesh,
            "latent": latent,
            "kam_raw": kam,
            "global_in": windows,
            "global_out": self.adapt(windows, kam),
        }
        return slots, points


RAW = ("heatmaps_raw", "offsets_raw", "embedding")


def _compile(function: Callable[..., Any], variables: Variables) -> Callable[..., Any]:
    """Compile a function of variables and arrays, and hand it the variables."""
    return functools.partial(jax.jit(function), variables)


def _clip(kam: Array) -> Array:
    return jnp.clip(kam, 0, 1)


def _network(network: Any, variables: Variables, images: Array) -> Maps:
    maps, captured = network.apply(
        variables,
        images,
        train=False,
        capture_intermediates=lambda module, _: module.name == "backbone",
    )
    (features,) = captured["intermediates"]["backbone"]["__call__"]
    return {"features": features.astype(jnp.float32)} | dict(
        zip(RAW, maps, strict=True)
    )


def _heads(config: LogoCapConfig, variables: Variables, features: Array) -> Maps:
    kinds = config.skeleton.num_keypoints
    sizes = {
        "heatmap_head": (config.heatmap_hidden, kinds + 1),
        "offset_head": (config.offset_hidden, 2 * kinds),
        "embedding_head": (config.embedding, None),
    }
    dtype = jnp.dtype(config.dtype)
    heatmaps, offsets, embedding = (
        Head(*size, dtype).apply(
            {collection: tree[name] for collection, tree in variables.items()},
            features,
            train=False,
        )
        for name, size in sizes.items()
    )
    offsets = jnp.asarray(offsets)
    offsets = offsets.reshape(*offsets.shape[:-1], kinds, 2)
    return dict(zip(RAW, (heatmaps, offsets, embedding), strict=True))


def _merge(config: LogoCapConfig, raw: Maps) -> DenseMaps:
    maps = DenseMaps(*(raw[name] for name in RAW))
    if len(maps.heatmaps) == 2:
        straight = jax.tree.map(lambda x: x[:1], maps)
        mirrored = jax.tree.map(lambda x: x[1:], maps)
        maps = flip.merge(straight, mirrored, config.skeleton.flip_index)
    return jax.tree.map(lambda x: x[0], maps)


def _local_poses(initial: InitialPoses, kam: Array, mesh: Array) -> Poses:
    keypoints, values = refine.best_of_kam(kam, mesh)
    scores = values * initial.center_values[:, None]
    pose_scores = jnp.mean(scores, axis=-1)
    return Poses(keypoints, scores, pose_scores, initial.valid & (pose_scores > 0))
