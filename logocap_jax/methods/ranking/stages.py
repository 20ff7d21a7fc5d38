"""The method at test time: its named stages, and the functions built from them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.geometry import STRIDE
from logocap_jax.inference import averaging
from logocap_jax.methods import initial_poses, pose_map
from logocap_jax.methods.base import Explanation, Stage, Variables, subtree
from logocap_jax.methods.candidates import cells_at_one, point_layers
from logocap_jax.methods.ranking.config import RankingConfig
from logocap_jax.methods.ranking.decoding import decode_stages
from logocap_jax.methods.ranking.network import RankingNetwork
from logocap_jax.methods.scorer import scoring_stage
from logocap_jax.methods.stages import run_stages
from logocap_jax.structures import View

HEADS = (
    *("branch_maps", "center_maps", "offsets_raw", "fine_raw"),
    *("heatmap_input", "offset_input", "heatmap_blocks", "offset_block"),
)
"""The arrays of `HeadMaps`, of the images and, behind them, of mirror images."""


def make_stages(config: RankingConfig) -> tuple[Stage, ...]:
    """The named stages, from images to poses after refinement and scoring.

    Returns:
      Stages that write the arrays `HEADS` and `heatmaps_raw`, the heatmaps of all
      blocks as one; `heatmaps` and `pose_map`, averaged, in `config.cells`; those of
      `decode_stages`; last `outputs`, poses by result set.
    """
    stages = (*_map_stages(config), *decode_stages(config))
    return (*stages, scoring_stage(config)) if config.scorer else stages


def _map_stages(config: RankingConfig) -> tuple[Stage, ...]:
    """The stages from images to heatmaps and pose maps of all scales."""
    network = config.network()
    shifts = (STRIDE - 1, config.cells.stride - 1)
    stages = (
        *pose_map.input_stages(
            config,
            repeat_border=False,
            shifts=shifts if config.fine_hidden else shifts[:1],
        ),
        initial_poses.backbone_stage(network),
        Stage("heads", ("features", "input_sizes"), HEADS, partial(_heads, network)),
        Stage(
            "block merge", HEADS[:2], ("heatmaps_raw",), partial(_merge_blocks, config)
        ),
        _fine_flip_stage(config) if config.fine_hidden else pose_map.flip_stage(config),
    )
    return (*stages, *pose_map.scale_stages(stages, config))


def _heads(
    network: RankingNetwork, variables: Variables, features: Array, sizes: Array | None
) -> tuple[Any, ...]:
    dense = subtree(variables, "dense")
    maps = network.apply(dense, features, train=False, valid_size=sizes, part="heads")
    by_block, *others = maps  # type: ignore[misc]
    return jnp.moveaxis(by_block, 0, 3), *others


def _merge_blocks(
    config: RankingConfig, _: Variables, branch_maps: Array, centers: Array
) -> tuple[Array]:
    """The mean of the blocks' heatmaps, or, beside fine ones, the maximum.

    Reference behaviour (specification, 6); `fixed`: the mean, which the regression head
    reads as well.
    """
    is_largest = config.fine_hidden and config.is_reference
    heatmaps = (jnp.max if is_largest else jnp.mean)(branch_maps, axis=3)
    return (jnp.concatenate([heatmaps, centers], axis=-1),)


def _fine_flip_stage(config: RankingConfig) -> Stage:
    """`pose_map.flip_stage` where there are heatmaps at stride 2 (specification, 6).

    The third input is the mirror image moved by 1 px, whose maps at stride 2 count.
    Reference behaviour, a slip: the mirror image's maps at both strides are combined
    before they are mirrored back, so that those at stride 4 arrive a cell of stride 2
    too far right.
    """
    flip_index = config.skeleton.flip_index
    coarse_stage = pose_map.flip_stage(config)

    def combine(heatmaps: Array, fine: Array, sizes: Array | None) -> Array:
        _, height, width, _ = fine.shape
        cells = None if sizes is None else sizes // STRIDE
        upsample = partial(pose_map.upsample, size=(height, width), scale=2.0)
        upsampled = jax.vmap(lambda maps, cells: upsample(maps, valid_cells=cells))(
            heatmaps, cells
        )
        keypoints = (upsampled[..., :-1] + fine) / 2
        return jnp.concatenate([keypoints, upsampled[..., -1:]], axis=-1)

    def merge(
        variables: Variables,
        heatmaps: Array,
        offsets: Array,
        fine: Array,
        sizes: Array | None,
    ) -> tuple[Array, Array]:
        count = heatmaps.shape[0] // (3 if config.flip_test else 1)
        coarse = slice(0, 2 * count if config.flip_test else count)
        averaged, poses = coarse_stage.run(
            variables, heatmaps[coarse], offsets[coarse], sizes
        )
        poses = 2 * jnp.repeat(jnp.repeat(poses, 2, axis=1), 2, axis=2)
        if not config.flip_test:
            return combine(heatmaps, fine, sizes), poses
        width = None if sizes is None else sizes[:, 1] // 2
        if config.is_reference:
            image = combine(heatmaps[:count], fine[:count], sizes)
            mirrored = combine(heatmaps[count : 2 * count], fine[2 * count :], sizes)
            mirrored = averaging.mirror_heatmaps(mirrored, flip_index, width)
            return (image + mirrored) / 2, poses
        back = averaging.mirror(fine[2 * count :], width)[..., flip_index]
        return combine(averaged, (fine[:count] + back) / 2, sizes), poses

    reads = ("heatmaps_raw", "offsets_raw", "fine_raw", "valid_size")
    return Stage("flip merge", reads, ("heatmaps", "pose_map"), merge)


def explain(config: RankingConfig, variables: Variables, view: View) -> Explanation:
    """Find poses as `predict` does, and keep heatmaps and sampled positions.

    Layers `unit0` and `unit1` hold what the regression head's adaptive convolutions
    read for each pose, at scale 1: the second the 9 positions around the pose's centre,
    the first the 9 around each of those. All keypoints share them.
    """
    wanted = ("outputs", "heatmaps", "offset_block", "centers", "kept")
    arrays = run_stages(make_stages(config), variables, vars(view), wanted)
    layers = initial_poses.heatmap_layers(
        arrays["heatmaps"], config.skeleton, config.cells
    )
    cells = cells_at_one(config, arrays["centers"], arrays["kept"])
    cells = jnp.floor(cells * (config.cells.stride / STRIDE))  # of the head
    units = {
        f"unit{i}": (transform[: len(cells)], None)
        for i, transform in enumerate(arrays["offset_block"].transforms)
    }
    points = point_layers(units, cells, config.skeleton.num_keypoints)
    answer = {"ranking": arrays["outputs"]["ranking"]}
    return Explanation(answer, {**layers, **points})
