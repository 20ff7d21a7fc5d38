"""A toy on a few drawn people, for six steps."""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config


def get_config(method: str) -> ConfigDict:
    config = default_config(method)
    config.data.input_size = 64
    config.data.max_people = 4
    config.batch_size = 8
    config.epochs = 6.0
    config.learning_rate = 1e-2
    config.log_every = 1
    config.eval_every = 3.0
    config.eval.short_side = 64
    config.eval.batch_size = 8
    return config
