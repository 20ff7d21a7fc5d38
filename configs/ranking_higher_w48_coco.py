"""Heatmap-guided adaptive estimates, ranked; HigherHRNet-W48, COCO at 640.

    logocap train --config ranking_higher_w48_coco --workdir runs/higher \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth
    logocap train --config ranking_higher_w48_coco --workdir runs/higher_scorer \
        --config.stage=scorer --config.init_from=runs/higher \
        --config.data.dir=/data/coco_keypoints

Expect (paper): 71.3 AP on val2017, 72.9 at the scales 0.5, 1 and 2. Not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config


def get_config() -> ConfigDict:
    config = load_config("ranking_w48_coco")
    config.method.fine_hidden = 48
    return config
