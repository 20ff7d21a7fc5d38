import json
import math
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from logocap_jax.training.metric_writer import MetricWriter, Stopwatch, progress_line


def write(workdir, steps, *, first_step=0, value=1.0):
    writer = MetricWriter(workdir, first_step=first_step)
    for step in steps:
        writer.write(step, {"loss/total": value})
    writer.close()


def read(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def read_events(workdir):
    """TensorBoard's records: length, its checksum, event, its checksum."""
    events = []
    for path in sorted(workdir.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            events.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return events


def test_a_line_holds_its_step_and_all_metrics(tmp_path):
    writer = MetricWriter(tmp_path)
    writer.write(5, {"loss/total": 0.25, "lr": 1e-3})
    writer.write(5, {"eval/logocap/AP": 0.5})
    assert read(tmp_path) == [  # before it is closed: a kill loses nothing
        {"step": 5, "loss/total": 0.25, "lr": 1e-3},
        {"step": 5, "eval/logocap/AP": 0.5},
    ]
    writer.close()


def test_resume_drops_what_is_done_again(tmp_path):
    write(tmp_path, [1, 2, 3, 4], value=1.0)
    write(tmp_path, [3, 4, 5], first_step=2, value=2.0)
    assert [(line["step"], line["loss/total"]) for line in read(tmp_path)] == [
        *[(1, 1.0), (2, 1.0)],
        *[(3, 2.0), (4, 2.0), (5, 2.0)],
    ]
    assert not list(tmp_path.glob(".*"))


def test_a_run_knows_what_was_written_for_the_step_it_goes_on_from(tmp_path):
    writer = MetricWriter(tmp_path)
    assert writer.known == set()
    writer.write(2, {"loss/total": 0.5})
    writer.write(2, {"eval/toy/AP": 0.5})
    writer.write(3, {"lr": 0.5})
    writer.close()
    for step, expected in [(2, {"step", "loss/total", "eval/toy/AP"}), (1, set())]:
        writer = MetricWriter(tmp_path, first_step=step)
        assert writer.known == expected
        writer.close()


def test_files_of_another_process_are_read_only(tmp_path):
    write(tmp_path, [1, 2])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    writer = MetricWriter(tmp_path, first_step=1, writes=False)
    writer.write(2, {"loss/total": 2.0})
    writer.close()
    assert writer.known == {"step", "loss/total"}
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "cut", ['{"st', '{"step": 2, "loss/total": 0.1', "\N{ELEPHANT}"]
)
def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path, cut):
    write(tmp_path, [1])
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(cut.encode()[:-1])
    write(tmp_path, [3], first_step=2)
    assert [line["step"] for line in read(tmp_path)] == [1, 3]


@pytest.mark.parametrize("bad", ["{'step': 1}", '{"loss": 1}', "[]", "", "null"])
def test_a_damaged_line_before_the_last_is_refused_by_number(tmp_path, bad):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{bad}\n{{"step": 3}}\n')
    before = path.read_text()
    with pytest.raises(ValueError, match=r"metrics.jsonl: line 2: got b") as caught:
        MetricWriter(tmp_path, first_step=3)
    assert "\n" not in str(caught.value)
    assert path.read_text() == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_lacks_is_null(tmp_path, value):
    write(tmp_path, [1], value=value)
    assert read(tmp_path) == [{"step": 1, "loss/total": None}]


def test_tensorboard_gets_each_scalar_at_its_step(tmp_path):
    write(tmp_path, [1, 2], value=0.5)
    scalars = [
        (event.step, value.tag, value.simple_value)
        for event in read_events(tmp_path)
        for value in event.summary.value
    ]
    assert scalars == [(1, "loss/total", 0.5), (2, "loss/total", 0.5)]


def test_resume_makes_tensorboard_forget_what_is_done_again(tmp_path):
    write(tmp_path, [3], first_step=2)
    starts = [e.step for e in read_events(tmp_path) if e.HasField("session_log")]
    assert starts == [3]


def test_stopwatch_counts_steps_and_starts_anew():
    stopwatch = Stopwatch()
    for _ in range(4):
        stopwatch.waited(0.0)
    first = stopwatch.read(batch_size=6)
    assert first["images_per_second"] * first["seconds_per_step"] == pytest.approx(6)
    assert first["data_wait_share"] == 0
    assert stopwatch.read(batch_size=6)["images_per_second"] == 0


METRICS = {
    "loss/heatmap": 0.012345,
    "count/matched_slots": 4.75,
    "loss/offset": 1.5e-4,
    "loss/total": 0.0125,
    "lr": 1e-3,
    "images_per_second": 85.25,
    "data_wait_share": 0.034,
    "seconds_per_step": 2.5,
}


def test_progress_line_has_the_total_first_and_counts_apart():
    assert progress_line(250, 2000, METRICS, 100) == (
        "step 250/2000  epoch 2.5  loss 0.0125 (heatmap 0.0123, offset 0.00015)  "
        "matched slots 4.8  lr 1.0e-03  85.2 images/s  data wait 3%  ETA 1:12:55"
    )


def test_progress_line_tells_of_skipped_steps_where_there_are_any():
    line = progress_line(250, 2000, METRICS | {"skipped_steps": 3}, 100)
    assert "matched slots 4.8  skipped 3  lr" in line
    assert "skipped" not in progress_line(1, 2, METRICS | {"skipped_steps": 0}, 1)


def test_progress_line_leaves_out_counts_that_a_method_has_not():
    metrics = {k: v for k, v in METRICS.items() if k != "count/matched_slots"}
    line = progress_line(2000, 2000, metrics, 100)
    assert "matched" not in line
    assert line.endswith("ETA 0:00:00")
