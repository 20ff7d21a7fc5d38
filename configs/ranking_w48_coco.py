"""Heatmap-guided adaptive estimates, ranked; HRNet-W48, COCO at 640.

    logocap train --config ranking_w48_coco --workdir runs/ranking48 \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth
    logocap train --config ranking_w48_coco --workdir runs/ranking48_scorer \
        --config.stage=scorer --config.init_from=runs/ranking48 \
        --config.data.dir=/data/coco_keypoints

Expect (paper): 70.1 AP on val2017, 72.5 at the scales 0.5, 1 and 2. Not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config


def get_config() -> ConfigDict:
    config = load_config("ranking_w32_coco")
    config.method.backbone.channels = 48
    config.method.heatmap_hidden = 48
    config.data.input_size = 640
    config.eval.short_side = 640
    config.batch_size = 32  # the reference: 8 on each of 4 GPUs
    return config
