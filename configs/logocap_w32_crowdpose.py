"""LOGO-CAP, HRNet-W32, CrowdPose at 512: the main model for crowds, with 14 keypoints.

    logocap prepare crowdpose --crowdpose-dir /data/crowdpose \
        --out /data/crowdpose_keypoints
    logocap train --config logocap_w32_crowdpose --workdir runs/crowd \
        --config.data.dir=/data/crowdpose_keypoints \
        --config.init_from=IMAGENET_HRNET.pth
    logocap eval --config logocap_w32_crowdpose --workdir runs/crowd \
        --config.data.dir=/data/crowdpose_keypoints --split test

Settings are those of COCO: the paper has none for CrowdPose. Not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config


def get_config() -> ConfigDict:
    config = load_config("logocap_w32_coco")
    config.epochs = 300.0  # as DEKR's: CrowdPose has fewer images
    config.lr_milestones = (200.0, 260.0)
    return config
