"""DEKR, HRNet-W32, CrowdPose at 512: 14 keypoints.

    logocap prepare crowdpose --crowdpose-dir /data/crowdpose \
        --out /data/crowdpose_keypoints
    logocap train --config dekr_w32_crowdpose --workdir runs/dekr_crowd \
        --config.data.dir=/data/crowdpose_keypoints \
        --config.init_from=IMAGENET_HRNET.pth
    logocap train --config dekr_w32_crowdpose --workdir runs/dekr_crowd_scorer \
        --config.stage=scorer --config.init_from=runs/dekr_crowd \
        --config.data.dir=/data/crowdpose_keypoints
    logocap eval --config dekr_w32_crowdpose --workdir runs/dekr_crowd_scorer \
        --config.method.scorer=True --config.data.dir=/data/crowdpose_keypoints \
        --split test

Expect (paper): 65.7 AP on the test split, 67.0 at the scales 0.5, 1 and 2. Not
run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config


def get_config() -> ConfigDict:
    config = load_config("dekr_w32_coco")
    config.data.min_center_area = 0.0  # everybody has a centre
    config.epochs = 300.0
    config.lr_milestones = (200.0, 260.0)
    return config
