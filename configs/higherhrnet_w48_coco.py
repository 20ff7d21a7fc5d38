"""HigherHRNet-W48 with associative embedding, COCO at 640.

    logocap train --config higherhrnet_w48_coco --workdir runs/higherhrnet_w48 \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth

Expect (paper): 68.4 AP on test-dev, 70.5 at the scales 0.5, 1 and 2
(`--config.method.test_scales='(0.5,1.0,2.0)'`); the release's detector 69.7 on val2017.
Not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config


def get_config() -> ConfigDict:
    config = load_config("higherhrnet_w32_coco")
    config.method.backbone.channels = 48
    config.method.head_channels = 48
    config.data.input_size = 640
    config.eval.short_side = 640
    return config
