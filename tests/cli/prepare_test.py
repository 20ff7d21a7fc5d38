import subprocess
import sys

import pytest

from data_pipeline.sources import open_source
from logocap_jax import cli
from logocap_jax.skeletons import COCO


def test_prepare_coco_writes_what_training_reads(coco_mini_dir, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["prepare", "coco", "--coco-dir", str(coco_mini_dir), "--out", str(out)]
    assert cli.main(arguments) == 0
    assert "train: 36 images written, 0 left out" in capsys.readouterr().out
    assert len(open_source(out, "train", COCO)) == 36
    assert cli.main(arguments) == 0
    assert "already prepared: nothing to do" in capsys.readouterr().out


def test_prepare_synthetic_writes_what_training_reads(tmp_path):
    out = tmp_path / "drawn"
    numbers = ["--train", "3", "--val", "2", "--size", "96", "--seed", "1"]
    assert cli.main(["prepare", "synthetic", "--out", str(out), *numbers]) == 0
    assert len(open_source(out, "train", COCO, with_people_only=True)) == 3
    assert len(open_source(out, "val", COCO)) == 2


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
