"""DEKR, HRNet-W32, COCO at 512: poses regressed by adaptive convolutions.

    logocap prepare coco --coco-dir /data/coco --out /data/coco_keypoints
    logocap train --config dekr_w32_coco --workdir runs/dekr \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth
    logocap train --config dekr_w32_coco --workdir runs/dekr_scorer \
        --config.stage=scorer --config.init_from=runs/dekr \
        --config.data.dir=/data/coco_keypoints

Expect (paper, ImageNet-pretrained backbone): 68.0 AP on val2017, 67.2 without the
scorer, 70.7 at the scales 0.5, 1 and 2 (`--config.method.test_scales='(0.5,1.0,2.0)'`).
Not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config


def get_config() -> ConfigDict:
    config = default_config("dekr")
    config.data.num_workers = 8
    config.batch_size = 40  # the reference: 10 on each of 4 GPUs
    config.lr_base_batch = 40
    return config
