"""DEKR as a small net on drawn people, with the budget of `demo`.

logocap prepare synthetic --out demo/data --train 1500 --val 120 --size 192 --seed 0
logocap train --config dekr_demo --workdir demo/dekr
logocap train --config dekr_demo --workdir demo/dekr_scorer \
        --config.stage=scorer --config.init_from=demo/dekr --config.batch_size=256
logocap eval --config dekr_demo --weights demo/dekr_scorer \
        --config.method.scorer=True --out demo --draw 12
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import change_method, load_config


def get_config() -> ConfigDict:
    config = load_config("demo")
    change_method(config, "dekr")
    config.method.keypoint_channels = 6
    return config
