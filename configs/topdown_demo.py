"""Spatial-aware regression on crops of people, small, on a handful of photographs.

    logocap train --config topdown_demo --workdir runs/topdown_demo \
        --config.data.dir=../shared/data/coco-mini
    logocap eval --config topdown_demo --workdir runs/topdown_demo \
        --config.data.dir=../shared/data/coco-mini --out runs/topdown_demo/val

It shows that all of it works together; its AP says nothing about the method.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config


def get_config() -> ConfigDict:
    config = default_config("topdown")
    config.method.backbone.update(
        {
            "channels": 12,
            "layer1_blocks": 2,
            "modules": (1, 1, 1),
            "blocks": 1,
        }
    )
    config.method.input_size = (96, 128)
    config.data.input_size = 128
    config.batch_size = 8
    config.epochs = 40.0
    config.lr_milestones = (30.0, 36.0)
    config.learning_rate = 1e-3
    config.log_every = 10
    config.eval_every = 20.0
    config.checkpoint_every = 20.0
    config.eval.short_side = 128
    config.eval.batch_size = 8
    return config
