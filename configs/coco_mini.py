"""A small net on a handful of photographs: does all of it agree on real input?

    python train.py --config configs/coco_mini.py --workdir runs/coco_mini \
        --config.data.dir=../shared/data/coco-mini

Trained from scratch on the 28 training photographs with people, and scored on the
same photographs.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    config = common.get_config()
    config.method.update(
        {
            "backbone": {
                "channels": 16,
                "stem_channels": 32,
                "layer1_channels": 16,
                "layer1_blocks": 2,
                "modules": (1, 1, 1),
                "blocks": 2,
            },
            "heatmap_hidden": 32,
            "offset_hidden": 64,
            "embedding": 16,
            "message_channels": (64, 48, 32),
            "affines": 10,
            "window_radius": 24,
        }
    )
    config.method.flip_test = False
    config.data.eval_split = "train"
    config.data.input_size = 256
    config.data.augmentation.rotation_deg = 5.0
    config.data.augmentation.scale_min = 0.95
    config.data.augmentation.scale_max = 1.5
    config.data.augmentation.translation = 10.0
    config.data.augmentation.mirror = 0.0
    config.batch_size = 7
    config.epochs = 500.0
    config.learning_rate = 2e-3
    config.lr_milestones = (350.0, 450.0)
    config.log_every = 20
    config.eval_every = 100.0
    config.eval.short_side = 256
    config.eval.batch_size = 4
    return config
