"""The command on the published cases, whole and corrupted."""

import json
import shutil

import numpy as np
import pytest

from logocap_jax import cli

pytestmark = pytest.mark.parity

IMAGE = "infer_000000165518"


def _run(folder, tmp_path, *options):
    report = tmp_path / "report.json"
    code = cli.main(["parity", str(folder), "--json", str(report), *options])
    return code, json.loads(report.read_text())


def _copy(parity_dir, folder, *names):
    folder.mkdir()
    for name in ("weights", *names):
        shutil.copy(parity_dir / "tiny" / f"{name}.npz", folder)
        (folder / f"{name}.npz").chmod(0o644)
    return folder


def _change(path, name, change):
    with np.load(path) as file:
        arrays = dict(file)
    arrays[name] = change(arrays[name])
    np.savez(path, **arrays)


@pytest.fixture(scope="module")
def report(parity_dir, tmp_path_factory):
    """One run over an image."""
    root = tmp_path_factory.mktemp("parity")
    return _run(_copy(parity_dir, root / "tiny", IMAGE), root)


@pytest.fixture(scope="module")
def training_report(parity_dir, tmp_path_factory):
    """One run over a training step."""
    root = tmp_path_factory.mktemp("parity")
    return _run(_copy(parity_dir, root / "tiny", "train_step_a"), root)


@pytest.mark.parametrize(
    "name",
    ["report", pytest.param("training_report", marks=pytest.mark.slow)],
)
def test_image_and_training_step_pass(request, name):
    code, content = request.getfixturevalue(name)
    assert code == 0
    assert content["passed"] is True
    assert content["first_failure"] is None
    assert content["dtype"] == "float32"


def test_report_holds_every_stage_end_to_end_and_alone(report):
    results = report[1]["results"]
    stages = {(r["stage"], r["fed_with"]) for r in results if IMAGE in r["case"]}
    both = {
        "embedding": "features",
        "heatmaps": "features",
        "offsets": "features",
        "centers": "center_heatmap_fullres",
        "mesh": "offsets, centers",
        "latent": "embedding, kem_grid",
        "KAM": "latent",
        "global window": "heatmaps_raw, kem_grid",
        "refined window": "global_in, kam_raw",
        "poses": "global_out",
        "scores": "kem_grid, kam_raw",
        "final keypoints": "poses, scores",
        "final scores": "poses, scores",
    }
    alone = set(both.items())
    end_to_end = {(stage, "image") for stage in (*both, "preprocessing", "features")}
    assert alone | end_to_end <= stages
    assert set(results[0]) == {
        *("case", "stage", "fed_with", "shape", "relative_error", "absolute_error"),
        *("tolerance", "passed", "widened", "note", "ties"),
    }


@pytest.mark.parametrize(
    "name",
    ["report", pytest.param("training_report", marks=pytest.mark.slow)],
)
def test_trained_weights_are_held_against_the_plain_tolerances(request, name):
    results = request.getfixturevalue(name)[1]["results"]
    assert not any("noise" in result["tolerance"] for result in results)


@pytest.mark.slow
def test_gradient_of_every_parameter_is_compared(training_report):
    results = training_report[1]["results"]
    (worst,) = (r for r in results if r["stage"] == "gradients, worst")
    assert worst["shape"] == [418]
    # The reference's own float noise: 2e-3 in the worst case.
    assert worst["relative_error"] < 5e-3


@pytest.mark.parametrize(
    ("name", "change", "first"),
    [
        pytest.param(
            "image", lambda a: a[:, ::-1], "preprocessing", marks=pytest.mark.slow
        ),
        pytest.param(
            "centers",
            lambda a: a[[1, 0, *range(2, len(a))]],
            "centers",
            marks=pytest.mark.slow,
        ),
        pytest.param("kam_raw", lambda a: a + 1e-4, "KAM", marks=pytest.mark.slow),
        ("final_scores", lambda a: a[:-1] * 1.001, "'final_scores': got shape"),
    ],
)
def test_corrupted_array_is_named_as_the_first_failure(
    parity_dir, tmp_path, capsys, name, change, first
):
    folder = _copy(parity_dir, tmp_path / "tiny", IMAGE)
    _change(folder / f"{IMAGE}.npz", name, change)
    if first.startswith("'"):
        assert cli.main(["parity", str(folder)]) == 2
        assert first in capsys.readouterr().err
        return
    code, content = _run(folder, tmp_path)
    assert code == 1
    assert content["first_failure"]["stage"] == first
    assert f"the first: tiny/{IMAGE}, {first} (fed with" in capsys.readouterr().out


def test_one_wrong_weight_is_caught_at_its_stage_and_later_ones_pass_alone(
    parity_dir, tmp_path
):
    folder = _copy(parity_dir, tmp_path / "tiny", IMAGE)
    _change(folder / "weights.npz", "joints_mlp.3.weight", lambda a: a * 1.01)
    code, content = _run(folder, tmp_path)
    assert code == 1
    assert content["first_failure"]["stage"] == "KAM"
    failed = {
        (r["stage"], r["fed_with"]) for r in content["results"] if not r["passed"]
    }
    assert ("KAM", "latent") in failed
    assert ("refined window", "global_in, kam_raw") not in failed


@pytest.mark.slow
def test_bfloat16_is_reported_without_marks(parity_dir, tmp_path):
    folder = _copy(parity_dir, tmp_path / "tiny", f"{IMAGE}")
    code, content = _run(folder, tmp_path, "--dtype", "bfloat16")
    assert code == 0
    assert content["passed"] is None
    errors = {r["stage"]: r["relative_error"] for r in content["results"][::-1]}
    assert 1e-4 < errors["features"] < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "no such folder"),
        ([".", "--json", "absent/a.json"], "no such folder"),
    ],
)
def test_unusable_arguments_end_in_one_line(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["parity", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["tiny", "w32"])
def test_all_published_cases_pass(parity_dir, tmp_path, folder):
    code, content = _run(parity_dir / folder, tmp_path)
    assert content["first_failure"] is None
    assert code == 0
