"""Heatmap-guided adaptive estimates, ranked; HRNet-W32, COCO at 512.

    logocap prepare coco --coco-dir /data/coco --out /data/coco_keypoints
    logocap train --config ranking_w32_coco --workdir runs/ranking \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth
    logocap train --config ranking_w32_coco --workdir runs/ranking_scorer \
        --config.stage=scorer --config.init_from=runs/ranking \
        --config.data.dir=/data/coco_keypoints

Expect (paper, ImageNet-pretrained backbone): 67.8 AP on val2017, 67.2 without the
scorer, 70.7 at the scales 0.5, 1 and 2 (`--config.method.test_scales='(0.5,1.0,2.0)'`).
Not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config


def get_config() -> ConfigDict:
    config = default_config("ranking")
    config.data.num_workers = 8
    # The reference's rate falls when its 90th and 120th epoch begin.
    config.lr_milestones = (89.0, 119.0)
    return config
