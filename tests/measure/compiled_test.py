import pathlib
import runpy

import pytest

from data_pipeline.drawn.animals import ANIMALS
from data_pipeline.drawn.dataset import PEOPLE, write_drawn_dataset
from data_pipeline.feed.augment import Augmentation
from data_pipeline.feed.pipeline import make_train_dataset
from data_pipeline.read.sources import open_source
from logocap_jax.measure.compiled import batch_shapes
from logocap_jax.sharding import make_mesh

TINY = pathlib.Path(__file__).resolve().parents[1] / "tiny_config.py"


@pytest.mark.parametrize("subject", [PEOPLE, ANIMALS], ids=lambda s: s.name)
def test_shapes_are_those_of_the_batches_that_training_gets(tmp_path, subject):
    config = runpy.run_path(str(TINY))["get_config"]()
    numbers = {"num_train": 2, "num_val": 1, "size": 96, "seed": 0}
    write_drawn_dataset(tmp_path / "data", **numbers, progress=False, subject=subject)
    config.data.dir = str(tmp_path / "data")
    source = open_source(tmp_path / "data", "train")
    batches = make_train_dataset(
        source,
        input_size=config.data.input_size,
        batch_size=config.batch_size,
        seed=0,
        augmentation=Augmentation(**config.data.augmentation),
        max_people=config.data.max_people,
    )
    batch = next(iter(batches))
    shapes = vars(batch_shapes(config, make_mesh()))
    assert set(shapes) == set(batch)
    for name, array in (batch | batch.pop("masks")).items():
        shape = (shapes | shapes["masks"])[name]
        assert (shape.shape, shape.dtype) == (array.shape, array.dtype), name
