import contextlib
import copy
import dataclasses
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from data_pipeline.feed.examples import (
    make_example,
    stack_examples,
)
from data_pipeline.feed.loss_masks import full_masks
from data_pipeline.read.coco import AnnotationFile
from logocap_jax.experiment.run import resolve
from logocap_jax.experiment.settings import load_config
from logocap_jax.measure.training import batch_shapes
from logocap_jax.methods.base import LossOutput, Method, TrainStage
from logocap_jax.sharding import put_batch, replicated
from logocap_jax.structures import Batch
from logocap_jax.weights.settings import load_settings

TINY_CONFIG = pathlib.Path(__file__).parents[1] / "tiny_config.py"
SWITCHES = {
    "paper": {},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.05, "clip_norm": 1.0},
    "lamb": {"optimizer": "lamb", "weight_decay": 0.05, "lr_scaling": "sqrt"},
    "all": {
        **{"optimizer": "adamw", "accumulate": 2, "ema_decay": 0.99},
        **{"method.dtype": "bfloat16", "method.backbone.remat": True},
    },
}
# One parameter, 1 at first, and the loss grows with it.
LINE = Method(
    init=lambda key: {"params": {"kernel": jnp.ones(())}, "batch_stats": {}},
    prepare=None,
    loss=lambda variables, batch, key: LossOutput(
        variables["params"]["kernel"], {}, {}, {}
    ),
    predict=None,
    evaluate=None,
    explain=None,
    answer="line",
)


@pytest.fixture
def config():
    return load_config(TINY_CONFIG)


@pytest.fixture
def mesh():
    return Mesh(np.asarray(jax.devices()[:1]), ("data",))


def switch(config, changes):
    with config.unlocked():  # the tiny config leaves `remat` out
        config.update_from_flattened_dict(changes)


def signature(array):
    return array.shape, str(array.dtype)


@pytest.mark.parametrize("changes", SWITCHES.values(), ids=SWITCHES)
def test_a_step_fits_the_state_of_its_config(config, mesh, changes):
    switch(config, changes)
    run = resolve(config, mesh=mesh)
    state = run.state_shapes()
    after, _ = jax.eval_shape(run.make_step(), state, _batch(config.batch_size))
    assert jax.tree.map(signature, after) == jax.tree.map(signature, state)
    assert (state.ema is not None) is ("ema_decay" in changes)


def test_the_learning_rate_scales_with_the_batch(config):
    switch(config, {"lr_scaling": "linear", "lr_base_batch": 2})
    rate = resolve(config).learning_rate
    assert float(rate(0)) == pytest.approx(config.learning_rate * config.batch_size / 2)


@pytest.mark.parametrize(
    ("changes", "value", "average"),
    [
        ({}, 0.9, None),
        ({"clip_norm": 1e-9}, 1 - 0.1 / 11, None),  # Adam's epsilon is ten times that
        ({"optimizer": "adamw", "weight_decay": 0.5}, 0.9 - 0.05, None),
        ({"optimizer": "lamb", "weight_decay": 0.5}, 0.9, None),
        ({"ema_decay": 0.05}, 0.9, 0.9 + 0.05 * 0.1),
    ],
    ids=str,
)
def test_options_reach_the_step(config, mesh, changes, value, average):
    switch(config, changes)
    config.learning_rate = 0.1
    run = dataclasses.replace(resolve(config, mesh=mesh), method=LINE)
    after, _ = run.make_step()(run.fresh_state(), _batch(config.batch_size))
    assert float(after.params["kernel"]) == pytest.approx(value, rel=1e-5)
    if average is not None:
        assert float(after.ema["params"]["kernel"]) == pytest.approx(average, rel=1e-5)


def test_parts_that_the_devices_do_not_divide_are_refused(config):
    config.batch_size, config.accumulate = 24, 2
    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    with pytest.raises(ValueError, match="batch_size=24, expected a multiple of 16"):
        resolve(config, mesh=mesh).make_step()


def test_a_stage_of_training_has_its_own_loss(config, mesh):
    def shrinking(variables, batch, key):
        return LossOutput(-variables["params"]["kernel"], {}, {}, {})

    config.learning_rate = 0.1
    run = resolve(config, mesh=mesh)
    run = dataclasses.replace(
        run,
        method=LINE._replace(stages={"second": TrainStage(shrinking)}),
        settings=dataclasses.replace(run.settings, stage="second"),
    )
    after, _ = run.make_step()(run.fresh_state(), _batch(config.batch_size))
    assert float(after.params["kernel"]) == pytest.approx(1.1)


def test_an_unknown_stage_lists_the_known_ones(config, mesh):
    config.stage = "second"
    with pytest.raises(ValueError, match=r"got stage 'second', expected .*\['main'\]"):
        resolve(config, mesh=mesh)


def test_a_checkpoint_of_another_stage_is_refused(config, tmp_path, mesh):
    _save(config, tmp_path, mesh)
    run = resolve(config, mesh=mesh)
    settings = dataclasses.replace(run.settings, stage="second")
    other = dataclasses.replace(run, settings=settings)
    checkpoints = other.open_checkpoints(tmp_path, data="one")
    with (
        contextlib.closing(checkpoints),
        pytest.raises(ValueError, match=r"made with stage=None \(config: 'second'\)"),
    ):
        checkpoints.restore_last(run.state_shapes())


@pytest.mark.row("R13")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ema_decay": 0.9}, "was made with ema=False (config: True)"),
        ({"optimizer": "lamb"}, "was made with optimizer='adam' (config: 'lamb')"),
        ({"seed": 7}, "was made with seed=0 (config: 7)"),
        ({"batch_size": 16}, "was made with batch_size=8 (config: 16)"),
        ({"method.embedding": 4}, "was made with method.embedding=2 (config: 4)"),
        ({"method.num_slots": 5}, "was made with method.num_slots=4 (config: 5)"),
    ],
)
def test_a_checkpoint_of_another_kind_of_state_is_refused(
    config, tmp_path, mesh, changes, expected
):
    _save(config, tmp_path, mesh)
    switch(config, changes)
    with pytest.raises(ValueError, match=re.escape(expected)) as caught:
        _restore(config, tmp_path, mesh)
    assert "\n" not in str(caught.value)


@pytest.mark.row("R13")
def test_a_checkpoint_of_other_training_data_is_refused_by_a_run_and_read_by_others(
    config, tmp_path, mesh
):
    _save(config, tmp_path, mesh)
    other = re.escape("was made with data='one' (config: 'two')")
    with pytest.raises(ValueError, match=other):
        _restore(config, tmp_path, mesh, data="two")
    assert _restore(config, tmp_path, mesh, data=None) is not None


@pytest.mark.row("R13")
def test_a_fingerprint_tells_other_annotations(tmp_path):
    path = tmp_path / "annotations" / "person_keypoints_train2017.json"
    path.parent.mkdir()
    fingerprints = set()
    for text in ("{}", "[]", "{}"):
        path.write_text(text)
        fingerprints.add(AnnotationFile(path).fingerprint)
    assert len(fingerprints) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"clip_norm": 1.0},
        {"accumulate": 2},
        {"lr_scaling": "linear"},
        {"method.backbone.remat": True},
        {"method.flip_test": True},
        {"method.test_scales": (0.5, 1.0, 2.0)},
        {"method.slots_per_step": 1},
    ],
    ids=str,
)
def test_what_leaves_the_state_alone_may_change_on_the_way(
    config, tmp_path, mesh, changes
):
    _save(config, tmp_path, mesh)
    switch(config, changes)
    assert _restore(config, tmp_path, mesh) is not None


def test_a_run_older_than_a_setting_of_test_time_goes_on(config, tmp_path, mesh):
    older = copy.deepcopy(config)
    with older.method.unlocked():
        del older.method.test_scales
    _save(older, tmp_path, mesh)
    assert _restore(config, tmp_path, mesh) is not None


def test_settings_of_test_time_are_kept_with_the_weights(config, tmp_path, mesh):
    config.method.test_scales = (0.5, 1.0)
    _save(config, tmp_path, mesh)
    settings, _ = load_settings(tmp_path, {})
    assert settings["test_scales"] == (0.5, 1.0)


def _batch(count):
    example = make_example(
        np.zeros((64, 64, 3), np.uint8),
        masks=full_masks((64, 64)),
        keypoints=np.zeros((1, 17, 2)),
        labelled=np.ones((1, 17), bool),
        area=np.ones(1),
        has_center=np.ones(1, bool),
        box=np.zeros((1, 4)),
        max_people=1,
    )
    return Batch(**jax.tree.map(jnp.asarray, stack_examples([example] * count)))


def _zeros(config, mesh):
    shapes = resolve(config, mesh=mesh).state_shapes()
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.device_put(zeros, replicated(mesh))


def _save(config, workdir, mesh, data="one"):
    checkpoints = resolve(config, mesh=mesh).open_checkpoints(workdir, data=data)
    checkpoints.save_last(_zeros(config, mesh))
    checkpoints.close()


def _restore(config, workdir, mesh, data="one"):
    run = resolve(config, mesh=mesh)
    checkpoints = run.open_checkpoints(workdir, data=data)
    try:
        return checkpoints.restore_last(run.state_shapes())
    finally:
        checkpoints.close()


def test_the_planned_program_is_the_one_that_training_runs(quick_config):
    mesh = Mesh(np.asarray(jax.devices()[:4]), ("data",))
    run = resolve(quick_config, mesh=mesh, train=True)
    # A plan knows no data: the rates of the steps are numbers in the program.
    planned = resolve(quick_config, mesh=mesh).with_epochs_of(len(run.train_source))
    shapes = planned.state_shapes(), batch_shapes(planned)
    with contextlib.closing(run.train_batches(run.train_source)) as batches:
        batch = Batch(**put_batch(next(batches), mesh))
    trained = run.make_step().lower(run.fresh_state(), batch)
    assert trained.as_text() == planned.make_step().lower(*shapes).as_text()
