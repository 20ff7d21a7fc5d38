"""How often annotations are read before the first step."""

import collections
import json
import pathlib
import shutil
import sys

import jax
import jax.numpy as jnp
import pytest

from data_pipeline.prepare.dataset import prepare_coco
from logocap_jax import skeletons
from logocap_jax.experiment import training
from logocap_jax.experiment.run import Run, resolve

_COUNTS: collections.Counter[str] | None = None


def _count(event, arguments):
    if _COUNTS is not None and event == "open" and isinstance(arguments[0], str):
        path = pathlib.Path(arguments[0])
        if path.suffix == ".json" and path.name.startswith(("person_", "ground_")):
            _COUNTS[path.name] += 1


sys.addaudithook(_count)


@pytest.fixture
def counts(monkeypatch):
    """By name of an annotation file, how often it is opened."""
    found = collections.Counter()
    monkeypatch.setattr(sys.modules[__name__], "_COUNTS", found)
    return found


def own_sigmas(drawn_dir, folder, sigmas="sigmas = 0.1"):
    shutil.copytree(drawn_dir, folder)
    settings = f'name = "mine"\n{sigmas}\n'
    (folder / "skeleton.toml").write_text(settings)


def estimated_sigmas(drawn_dir, folder):
    own_sigmas(drawn_dir, folder, 'sigmas_from = "again.json"')
    first = folder / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(first.read_text())
    for index, person in enumerate(content["annotations"]):
        person["keypoints"][::3] = [x + index % 3 for x in person["keypoints"][::3]]
    (folder / "again.json").write_text(json.dumps(content))


def prepared(drawn_dir, folder):
    prepare_coco(drawn_dir, folder, skeleton=skeletons.COCO, progress=False)


def fresh_zeros(self):
    zeros = lambda leaf: jnp.zeros(leaf.shape, leaf.dtype)  # noqa: E731
    return jax.tree.map(zeros, self.state_shapes())


@pytest.mark.parametrize(
    "lay_out",
    [
        shutil.copytree,
        own_sigmas,
        estimated_sigmas,
        prepared,
    ],
)
def test_each_file_of_annotations_is_read_once_before_the_first_step(
    lay_out, drawn_dir, config, tmp_path, monkeypatch, request
):
    lay_out(drawn_dir, tmp_path / "data")
    config.data.dir = str(tmp_path / "data")
    monkeypatch.setattr(Run, "fresh_state", fresh_zeros)
    monkeypatch.setattr(training, "train_loop", lambda state, *_, **__: state)
    counts = request.getfixturevalue("counts")
    assert training.train(resolve(config, train=True), tmp_path / "run") is None
    assert len(counts) == 2
    assert set(counts.values()) == {1}, counts
