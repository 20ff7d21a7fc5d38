"""LOGO-CAP, HRNet-W32, COCO at 512: the paper's main model.

    logocap prepare coco --coco-dir /data/coco --out /data/coco_keypoints
    logocap train --config logocap_w32_coco --workdir runs/w32 \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth

Expect (paper, ImageNet-pretrained backbone): 69.6 AP on val2017. Not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config


def get_config() -> ConfigDict:
    config = default_config("logocap")
    config.data.num_workers = 8
    return config
