"""Heatmap-guided adaptive estimates, ranked; a small net on drawn people.

    logocap prepare synthetic --out demo/data --train 1500 --val 120 --size 192 --seed 0
    logocap train --config ranking_demo --workdir demo/ranking
    logocap train --config ranking_demo --workdir demo/ranking_scorer \
        --config.stage=scorer --config.init_from=demo/ranking --config.batch_size=256
    logocap eval --config ranking_demo --workdir demo/ranking_scorer \
        --config.method.scorer=True --out demo --draw 12

The budget is that of `demo`.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import change_method, load_config


def get_config() -> ConfigDict:
    config = load_config("demo")
    change_method(config, "ranking")
    return config
