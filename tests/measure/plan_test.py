import dataclasses
import json

from logocap_jax.measure.plan import CompiledStep, Plan, format_plan, to_json
from logocap_jax.measure.programs import KINDS, Collective
from logocap_jax.measure.topologies import parse_topology
from logocap_jax.skeletons import CROWDPOSE

STATE = {
    "parameters": 100_000_000,
    "batch_statistics": 2_000_000,
    "optimizer": 200_000_000,
    "moving_average": 0,
}


def plan(name="v5e:4x4", memory=9 * 2**30, collectives=(), other=()):
    def step(batch_size, collectives):
        return CompiledStep(
            batch_size=batch_size,
            compile_seconds=1.0,
            memory=memory,
            flops=197e9,
            accessed=819e6,
            collectives=list(collectives),
        )

    return Plan(
        topology=parse_topology(name),
        device_kind="TPU v5 lite",
        dtype="bfloat16",
        skeleton=CROWDPOSE,
        state=STATE,
        step=step(64, collectives),
        other=step(32, other),
    )


def test_table_holds_the_needs_of_a_chip():
    gradients = [Collective("all-reduce", 102_000_000, 1, "gradients")]
    text = format_plan(plan(collectives=gradients, other=gradients))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == (
        "16 x TPU v5 lite, 64 images a step, 4 on each device, bfloat16, "
        "14 keypoints (crowdpose)"
    )
    for expected in (
        "parameters 100.0 MB",
        "optimizer 200.0 MB",
        "peak memory 9,663.7 MB of 17,179.9 MB",
        "operations of a step 197.0 GFLOP",
        "bytes accessed in a step 819.0 MB",
        "all-reduce 102.000 MB in 1 (102.000 MB)",
        "all-gather 0.000 MB in 0 (0.000 MB)",
        "all 1.000 x (parameters and batch statistics)",
    ):
        assert expected in lines
    assert "warning" not in text


def test_memory_beyond_the_chips_and_growing_collectives_are_warned_of():
    moved = Collective("all-gather", 10, 1, "jit(step)/sort")
    faulty = plan(
        memory=20 * 2**30,
        collectives=[moved],
        other=[moved._replace(size=5)],
    )
    growth, memory = faulty.warnings
    assert growth == "all-gather grows with the batch, a sharding fault: jit(step)/sort"
    assert memory.startswith("peak memory of 20.0 GiB exceeds the chip's 16 GiB; ")
    assert format_plan(faulty).endswith(f"warning: {growth}\nwarning: {memory}")


def test_json_holds_the_same_and_nothing_that_is_unknown():
    gathered = [Collective("all-gather", 10, 3, "")]
    content = json.loads(json.dumps(to_json(plan(collectives=gathered))))
    assert content["state"] == STATE
    assert content["collectives"]["all-gather"] == {"count": 3, "bytes": 30}
    assert set(content["other_collectives"]) == set(KINDS)
    assert content["device_memory"] == 16 * 2**30
    alone = to_json(dataclasses.replace(plan("cpu:8"), other=None))
    assert alone["device_memory"] is None
    assert alone["other_collectives"] is None
