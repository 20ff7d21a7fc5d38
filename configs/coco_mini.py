"""A small net on a handful of photographs: does all of it agree on real input?

    logocap train --config coco_mini --workdir runs/coco_mini \
        --config.data.dir=../shared/data/coco-mini
    logocap eval --config coco_mini --workdir runs/coco_mini \
        --config.data.dir=../shared/data/coco-mini --out runs/coco_mini/train --draw 36

Trained from scratch on the 28 training photographs with people and scored on the same
photographs (`--split val` scores the others).

Expect, on 2 CPU cores and in about 50 minutes, an AP near 0.79 after an initial one
near 0.44 on the photographs it has learnt, and 0 on others: docs/coco_mini.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config


def get_config() -> ConfigDict:
    config = default_config("logocap")
    config.method.backbone.update(
        {
            "channels": 16,
            "stem_channels": 24,
            "layer1_channels": 16,
            "layer1_blocks": 1,
            "modules": (1, 1, 1),
            "blocks": 1,
        }
    )
    config.method.update(
        {
            "heatmap_hidden": 32,
            "offset_hidden": 64,
            "embedding": 16,
            "message_channels": (64, 48, 32),
            "affines": 10,
            "window_radius": 20,
            "window_sigma": 12.0,
            "refined_sigma": 2.5,
            "center_sigma": 3.0,
            "offset_radius": 3,
            "offset_loss_weight": 0.04,
            "flip_test": False,
        }
    )
    config.data.eval_split = "train"
    config.data.input_size = 256
    config.data.augmentation.update(
        {
            "rotation_deg": 0.0,
            "scale_min": 0.95,
            "scale_max": 1.05,
            "translation": 50.0,
            "mirror": 0.0,
        }
    )
    # Few images, so all that counts is the number of steps.
    config.batch_size = 2
    config.epochs = 1000.0
    config.learning_rate = 4e-3
    config.lr_milestones = (400.0, 550.0, 650.0, 750.0, 825.0, 900.0, 950.0)
    config.lr_decay = 0.5
    config.lr_warmup = 4.0
    config.log_every = 140
    config.eval_every = 250.0
    config.checkpoint_every = 50.0
    config.eval.short_side = 256
    config.eval.batch_size = 4
    return config
