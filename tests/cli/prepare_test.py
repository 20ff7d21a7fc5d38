import json
import shutil
import subprocess
import sys

import pytest

from data_pipeline.read.layouts import LAYOUTS
from data_pipeline.read.sources import open_source
from logocap_jax import cli
from logocap_jax.skeletons import CROWDPOSE


def test_prepare_coco_writes_what_training_reads(coco_mini_dir, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["prepare", "coco", "--coco-dir", str(coco_mini_dir), "--out", str(out)]
    assert cli.main(arguments) == 0
    assert "train: 36 images written, 0 left out" in capsys.readouterr().out
    assert len(open_source(out, "train")) == 36
    assert cli.main(arguments) == 0
    assert "already prepared: nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_help_says_what_to_download_for_each_data_set(layout, capsys):
    with pytest.raises(SystemExit):
        cli.main(["prepare", layout.name, "--help"])
    text = capsys.readouterr().out
    assert "http" in text
    assert f"--{layout.name}-dir" in text
    for split, name in layout.annotations.items():
        assert f"annotations/{name}" in text
        assert f"{layout.image_folders[split][-1]}" in text


def test_prepare_crowdpose_writes_what_training_reads(shared_dir, tmp_path, capsys):
    root, out = tmp_path / "crowdpose", tmp_path / "out"
    sample = shared_dir / "data" / "samples" / "crowdpose"
    (root / "annotations").mkdir(parents=True)
    shutil.copytree(sample, root / "images")
    annotations = (root / "images" / "test_crowdpose.json").rename(
        root / "annotations" / "crowdpose_test.json"
    )
    arguments = ["--crowdpose-dir", str(root), "--out", str(out)]
    assert cli.main(["prepare", "crowdpose", *arguments]) == 0
    assert "test: 2 images written, 0 left out" in capsys.readouterr().out
    assert json.loads((out / "dataset_info.json").read_text())["name"]
    source = open_source(out, "test")
    assert len(source) == 2
    assert source[0].keypoints.shape[1:] == (14, 2)
    truth = json.loads((out / "ground_truth_test.json").read_text())
    assert truth["images"] == json.loads(annotations.read_text())["images"]
    assert source.skeleton == CROWDPOSE


def test_prepare_synthetic_writes_what_training_reads(tmp_path):
    out = tmp_path / "drawn"
    numbers = ["--train", "3", "--val", "2", "--size", "96", "--seed", "1"]
    assert cli.main(["prepare", "synthetic", "--out", str(out), *numbers]) == 0
    assert len(open_source(out, "train", with_people_only=True)) == 3
    assert len(open_source(out, "val")) == 2


def test_bad_input_gives_one_error_and_exit_code_2(tmp_path, capsys):
    arguments = ["--coco-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    assert cli.main(["prepare", "coco", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {tmp_path}: got no annotations, expected")
    assert captured.err.count("\n") == 1
    assert not captured.out


@pytest.mark.parametrize("arguments", [[], ["prepare"], ["nonsense"], ["prepare", "x"]])
def test_wrong_usage_exits_with_code_2(arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2


def test_help_starts_without_heavy_imports():
    script = (
        "import sys; from logocap_jax import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'tensorflow_datasets', 'cv2', 'numpy', 'grain'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")
    assert "prepare" in done.stdout
