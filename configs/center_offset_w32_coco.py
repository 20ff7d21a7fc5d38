"""The baseline, HRNet-W32, COCO at 512: initial poses only.

    logocap prepare coco --coco-dir /data/coco --out /data/coco_keypoints
    logocap train --config center_offset_w32_coco --workdir runs/base \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth

Expect (paper, ImageNet-pretrained backbone): 60.0 AP on val2017. Not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config


def get_config() -> ConfigDict:
    config = default_config("center_offset")
    config.data.num_workers = 8
    return config
