"""LOGO-CAP, HRNet-W48, COCO at 640: the paper's large model.

    logocap prepare coco --coco-dir /data/coco --out /data/coco_keypoints
    logocap train --config logocap_w48_coco --workdir runs/w48 \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth

Expect (paper, ImageNet-pretrained backbone): 72.2 AP on val2017. Not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config


def get_config() -> ConfigDict:
    config = load_config("logocap_w32_coco")
    config.method.backbone.channels = 48
    config.method.heatmap_hidden = 48
    config.lr_base_batch = 32  # the reference: 8 on each of 4 GPUs
    config.data.input_size = 640
    config.eval.short_side = 640
    config.batch_size = 32  # the reference: 8 on each of 4 GPUs
    return config
