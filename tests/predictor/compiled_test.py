"""What a second run of `logocap predict` need neither trace nor compile."""

import os
import subprocess
import sys

import pytest

from tests import programs

PREDICT = "import sys; from logocap_jax import cli; sys.exit(cli.main(sys.argv[1:]))"
# Few of everything, to compile it fast.
FAST = (
    *("--short-side=64", "--no-flip-test"),
    *("--set=num_slots=8", "--set=mesh_size=3", "--set=window_radius=8"),
)


def predict(images, weights, folder):
    """Run the command in a process of its own; names the programs it has kept."""
    cache = folder / "logocap_jax"
    before = set(cache.glob("*-cache")) if cache.exists() else set()
    arguments = [images, "--weights", weights, "--json", folder / "found.json", *FAST]
    environment = (
        os.environ
        | programs.one_device()
        | {
            "XDG_CACHE_HOME": str(folder),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    )
    del environment["JAX_COMPILATION_CACHE_DIR"]
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, "predict", *map(str, arguments)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "40 images" in done.stdout
    return [path.name for path in set(cache.glob("*-cache")) - before]


@pytest.mark.slow
@pytest.mark.parity
def test_forty_photographs_are_compiled_for_at_most_four_times_and_never_again(
    parity_dir, coco_mini_dir, tmp_path
):
    images = coco_mini_dir / "val2017"
    weights = parity_dir / "tiny" / "weights.npz"
    kept = predict(images, weights, tmp_path)
    assert 1 <= sum(name.startswith("jit_predict-") for name in kept) <= 4
    (traces,) = (tmp_path / "logocap_jax").glob("traces-*")
    before = {path: path.stat().st_mtime_ns for path in traces.iterdir()}
    assert 2 <= len(before) <= 5  # traces, and the note that the weights fit
    assert predict(images, weights, tmp_path) == []
    assert before == {path: path.stat().st_mtime_ns for path in traces.iterdir()}
