import pathlib

import pytest

from data_pipeline.drawn.animals import ANIMALS
from data_pipeline.drawn.dataset import PEOPLE, write_drawn_dataset
from logocap_jax.experiment.run import resolve
from logocap_jax.experiment.settings import load_config
from logocap_jax.measure.benchmark import BenchmarkOptions, Setting
from logocap_jax.measure.input import open_training_source
from logocap_jax.measure.training import batch_shapes, draw_example, measure_training

TINY = pathlib.Path(__file__).resolve().parents[1] / "tiny_config.py"


@pytest.mark.parametrize("subject", [PEOPLE, ANIMALS], ids=lambda s: s.name)
def test_shapes_are_those_of_the_batches_that_training_gets(tmp_path, subject):
    numbers = {"num_train": 2, "num_val": 1, "size": 96, "seed": 0}
    write_drawn_dataset(tmp_path / "data", **numbers, progress=False, subject=subject)
    run = resolve(load_config(TINY, [f"data.dir={tmp_path / 'data'}"]))
    batches = run.train_batches(open_training_source(run), num_workers=0)
    batch = next(iter(batches))
    batches.close()
    shapes = vars(batch_shapes(run))
    assert set(shapes) == set(batch)
    assert batch.pop("scaled") == shapes["scaled"] == ()
    for name, array in (batch | batch.pop("masks")).items():
        shape = (shapes | shapes["masks"])[name]
        assert (shape.shape, shape.dtype) == (array.shape, array.dtype), name


def test_a_training_example_has_the_people_asked_for():
    run = resolve(load_config(TINY))
    example = draw_example(run, 2)
    assert example["image"].shape == (64, 64, 3)
    assert example["masks"][4].shape == (16, 16)
    assert example["person"].sum() == 2
    assert example["labelled"].sum() == 2 * 17
    assert (example["keypoints"] >= 0).all()
    assert (example["keypoints"] < 64).all()
    with pytest.raises(ValueError, match="got 9 people, expected 1 to 8"):
        draw_example(run, 9)


def test_data_that_are_not_there_are_told_before_anything_is_compiled(
    tmp_path, monkeypatch
):
    compiled = []
    monkeypatch.setattr(BenchmarkOptions, "compile", lambda *_: compiled.append(1))
    config = load_config(TINY, [f"data.dir={tmp_path / 'absent'}"])
    setting = Setting(batch=8, size=(64, 64), dtype="float32")
    with pytest.raises(ValueError, match="absent: got neither a prepared data set"):
        measure_training(config, setting, 1, BenchmarkOptions(rounds=1))
    assert not compiled
