"""Spatial-aware regression, one person at a time, HRNet-W48, COCO at 288x384.

    logocap prepare coco --coco-dir /data/coco --out /data/coco_keypoints
    logocap train --config topdown_w48_coco --workdir runs/topdown \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth
    logocap eval --config topdown_w48_coco --workdir runs/topdown --out runs/val \
        --config.data.dir=/data/coco_keypoints --config.eval.detections=BOXES.json

Settings are those of the released configuration. Its AP could not be had; not run here.
Without `eval.detections` people are looked for in their annotated boxes.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config


def get_config() -> ConfigDict:
    config = default_config("topdown")
    config.data.num_workers = 8
    config.data.input_size = 384  # of what measures and plans
    config.batch_size = 72  # the release: 36 on each of 2 GPUs
    config.learning_rate = 5e-4
    config.epochs = 210.0
    config.lr_milestones = (170.0, 200.0)
    config.lr_warmup = 500 / 2080  # 500 updates, of 149,813 people in batches
    config.lr_warmup_start = 1e-3
    config.eval.batch_size = 64
    return config
