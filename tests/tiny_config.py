"""A net with one exchange module, to compile it fast, and a run of a few steps."""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config


def get_config() -> ConfigDict:
    config = default_config("logocap")
    config.method.backbone = {
        "channels": 4,
        "stem_channels": 4,
        "layer1_channels": 4,
        "layer1_blocks": 1,
        "modules": (1, 0, 0),
        "blocks": 1,
    }
    with config.method.unlocked():
        config.method.update(
            {
                "center_threshold": 1e-6,
                "heatmap_hidden": 4,
                "offset_hidden": 4,
                "embedding": 2,
                "message_channels": (4, 4, 4),
                "affines": 2,
                "window_radius": 8,
                "mesh_size": 5,
                "num_slots": 4,
                "instance_budget": 2,
            }
        )
    config.method.flip_test = False
    config.data.input_size = 64
    config.data.max_people = 8
    config.batch_size = 8
    config.epochs = 2.0
    config.lr_milestones = (1.5,)
    config.log_every = 1
    config.eval_every = 1.0
    config.eval.short_side = 64
    config.eval.batch_size = 8
    return config
