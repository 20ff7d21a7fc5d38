"""DEKR, HRNet-W48, COCO at 640: the large model.

    logocap prepare coco --coco-dir /data/coco --out /data/coco_keypoints
    logocap train --config dekr_w48_coco --workdir runs/dekr48 \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth
    logocap train --config dekr_w48_coco --workdir runs/dekr48_scorer \
        --config.stage=scorer --config.init_from=runs/dekr48 \
        --config.data.dir=/data/coco_keypoints

Expect (paper, ImageNet-pretrained backbone): 71.0 AP on val2017, 70.3 without the
scorer, 72.3 at the scales 0.5, 1 and 2. Not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config


def get_config() -> ConfigDict:
    config = load_config("dekr_w32_coco")  # the reference: 5 on each of 8 GPUs
    config.method.backbone.channels = 48
    config.method.heatmap_hidden = 48
    config.data.input_size = 640
    config.eval.short_side = 640
    return config
