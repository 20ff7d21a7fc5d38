"""A full disk, played by a limit on the size of files, which needs no rights."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

from tests import programs

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def run_script(tmp_path):
    """Runs a script: what Orbax leaves behind in a process stays in that one."""

    def run(script: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
            env=os.environ | programs.one_device() | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.mark.row("R11")
def test_a_full_disk_is_told_in_one_line_and_harms_no_earlier_checkpoint(
    run_script, tmp_path
):
    lines = run_script("""
        import pathlib, sys
        import jax.numpy as jnp
        import numpy as np
        from logocap_jax.training.checkpoint import Checkpoints
        from logocap_jax.training.errors import SaveError
        from logocap_jax.training.state import TrainState
        from tests.faults.injector import limit_files

        def state(step):
            noise = np.random.default_rng(step).normal(size=10_000)
            return TrainState(jnp.asarray(step), {"w": jnp.asarray(noise)}, {}, ())

        def attempt(save):
            try:
                save()
            except SaveError as error:
                print(error.exit_code, error)

        checkpoints = Checkpoints(pathlib.Path(sys.argv[1]), settings={})
        checkpoints.save_last(state(1))
        checkpoints.save_best(state(1), 0.5)
        limit_files(20_000)  # half of what a checkpoint needs
        checkpoints.save_last(state(2))  # in the background: the next one tells
        attempt(lambda: checkpoints.save_last(state(3)))
        limit_files()
        print(int(checkpoints.restore_last(state(0)).step))  # the live run knows it
        limit_files(20_000)
        attempt(lambda: checkpoints.save_best(state(3), 0.6))
        limit_files()
        checkpoints.save_last(state(4))
        checkpoints.close()

        again = Checkpoints(pathlib.Path(sys.argv[1]), settings={})
        for restored in (again.restore_last(state(0)), again.restore_best(state(0))):
            step = int(restored.step)
            assert (restored.params["w"] == state(step).params["w"]).all()
            print(step)
        """)
    full_last, live, full_best, *steps = lines
    assert live == "1"
    for name, line in (("last", full_last), ("best", full_best)):
        assert line.startswith(f"7 {tmp_path}/{name}: could not write a checkpoint: ")
    assert steps == ["4", "1"]
    names = {path.name for path in (tmp_path / "last").iterdir()}
    assert names == {"1", "4"}


@pytest.mark.row("R11")
def test_metrics_that_do_not_fit_on_the_disk_are_told_in_one_line(run_script, tmp_path):
    lines = run_script("""
        import pathlib, sys
        from logocap_jax.training.errors import SaveError
        from logocap_jax.training.metric_writer import MetricWriter
        from tests.faults.injector import limit_files

        writer = MetricWriter(pathlib.Path(sys.argv[1]))
        limit_files(1000)
        try:
            for step in range(1000):
                writer.write(step, {"loss/total": 0.5})
        except SaveError as error:
            print(error.exit_code, error)
        writer.close()
        """)
    (line,) = lines
    assert line.startswith(f"7 {tmp_path}/metrics.jsonl: could not write the metrics: ")


@pytest.mark.row("R11")
def test_results_that_do_not_fit_on_the_disk_leave_the_old_ones(run_script, tmp_path):
    (tmp_path / "results.json").write_text("[]")
    lines = run_script("""
        import pathlib, sys
        from logocap_jax.evaluation.results import write_json
        from tests.faults.injector import limit_files

        path = pathlib.Path(sys.argv[1]) / "results.json"
        limit_files(1000)
        try:
            write_json(path, list(range(1000)))
        except OSError as error:
            print(error)
        """)
    assert "File too large" in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert (tmp_path / "results.json").read_text() == "[]"
