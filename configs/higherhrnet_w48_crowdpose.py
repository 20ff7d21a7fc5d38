"""HigherHRNet-W48 with associative embedding, CrowdPose at 640: 14 keypoints.

    logocap prepare crowdpose --crowdpose-dir /data/crowdpose \
        --out /data/crowdpose_keypoints
    logocap train --config higherhrnet_w48_crowdpose --workdir runs/higherhrnet_crowd \
        --config.data.dir=/data/crowdpose_keypoints \
        --config.init_from=IMAGENET_HRNET.pth
    logocap eval --config higherhrnet_w48_crowdpose --workdir runs/higherhrnet_crowd \
        --config.data.dir=/data/crowdpose_keypoints --split test

Expect (paper): 65.9 AP on the test split, 67.6 at the scales 0.5, 1 and 2. Not run
here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config


def get_config() -> ConfigDict:
    return load_config("higherhrnet_w48_coco")
