"""Spatial-aware regression, one person at a time, ResNet-50, COCO at 288x384.

    logocap prepare coco --coco-dir /data/coco --out /data/coco_keypoints
    logocap train --config topdown_r50_coco --workdir runs/topdown_r50 \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_RESNET50.pth

`--config=topdown_r50_coco:supplement` has the settings of the supplement's ablations:
192x256, a rate of 1e-3 that falls at 90 and 120 of 140 epochs, batches of 320, no flip
test, annotated boxes. All else is that of the released configuration. Neither's AP on
COCO could be had; not run here.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config

_PEOPLE = 149_813  # of train2017


def get_config(variant: str = "release") -> ConfigDict:
    if variant not in ("release", "supplement"):
        raise ValueError(f"got {variant!r}, expected one of release, supplement")
    config = default_config("topdown")
    config.method.architecture = "resnet"
    config.data.num_workers = 8
    config.data.input_size = 384  # of what measures and plans
    config.batch_size = 192  # the release: 96 on each of 2 GPUs
    config.learning_rate = 5e-4
    config.epochs = 210.0
    config.lr_milestones = (170.0, 200.0)
    config.lr_warmup_start = 1e-3
    config.eval.batch_size = 64
    if variant == "supplement":
        config.method.input_size = (192, 256)
        config.method.flip_test = False
        config.data.input_size = 256
        config.batch_size = 320
        config.learning_rate = 1e-3
        config.epochs = 140.0
        config.lr_milestones = (90.0, 120.0)
    config.lr_warmup = 500 * config.batch_size / _PEOPLE  # 500 updates
    return config
