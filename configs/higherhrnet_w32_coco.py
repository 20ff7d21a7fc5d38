"""HigherHRNet-W32 with associative embedding, COCO at 512.

    logocap prepare coco --coco-dir /data/coco --out /data/coco_keypoints
    logocap train --config higherhrnet_w32_coco --workdir runs/higherhrnet \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth

Expect (paper): 67.1 AP on val2017, 66.4 on test-dev. Not run here. With a heatmap of
pose centres, as CenterGroup's detector: `--config.method.center=True`.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config


def get_config() -> ConfigDict:
    config = default_config("higherhrnet")
    config.data.num_workers = 8
    config.batch_size = 192  # the reference: 24 on each of 8 GPUs
    config.learning_rate = 1.5e-3
    config.lr_scaling = "linear"
    config.lr_base_batch = 192
    config.epochs = 300.0
    config.lr_milestones = (200.0, 260.0)
    config.lr_warmup = 1.5  # epochs: 500 steps
    return config
