"""A small net on drawn people, from nothing to a scored model in minutes on a CPU.

    make demo

which is

    logocap prepare synthetic --out demo/data --train 1500 --val 120 --size 192 --seed 0
    python train.py --config configs/demo.py --workdir demo/run
    python eval.py --config configs/demo.py --workdir demo/run --out demo --draw 12
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    config = common.get_config()
    config.method.backbone = ConfigDict(
        {
            "channels": 16,
            "stem_channels": 16,
            "layer1_channels": 16,
            "layer1_blocks": 1,
            "modules": (1, 1, 1),
            "blocks": 1,
        }
    )
    with config.method.unlocked():
        config.method.update(
            {
                "heatmap_hidden": 32,
                "offset_hidden": 64,
                "embedding": 8,
                "message_channels": (64, 48, 32),
                "affines": 8,
                "window_radius": 16,
                "window_sigma": 8.0,
                "refined_sigma": 2.0,
                "instance_budget": 4,
            }
        )
    config.method.num_slots = 16
    config.method.flip_test = False
    config.data.dir = "demo/data"
    config.data.input_size = 160
    config.data.max_people = 16
    config.data.augmentation.scale_min = 0.8
    config.data.augmentation.scale_max = 1.2
    config.data.augmentation.rotation_deg = 10.0
    config.data.augmentation.translation = 20.0
    config.batch_size = 16
    config.epochs = 10.0
    config.learning_rate = 3e-3
    config.lr_milestones = (7.0, 9.0)
    config.log_every = 20
    config.eval_every = 5.0
    config.eval.short_side = 192
    config.eval.batch_size = 15
    return config
