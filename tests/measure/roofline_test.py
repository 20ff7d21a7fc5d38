import pytest

from logocap_jax.measure.collectives import KINDS, Traffic
from logocap_jax.measure.roofline import estimate
from logocap_jax.measure.topologies import parse_topology

NOTHING = dict.fromkeys(KINDS, Traffic(0, 0))


def times(topology, *, dtype="bfloat16", flops=0.0, accessed=0, **traffic):
    kinds = {kind.replace("_", "-"): value for kind, value in traffic.items()}
    return estimate(
        parse_topology(topology),
        dtype=dtype,
        flops=flops,
        accessed=accessed,
        traffic=NOTHING | kinds,
    )


def test_longer_of_arithmetic_and_memory_is_what_a_step_takes():
    roofline = times("v5e:2x2", flops=197e12, accessed=2 * 819 * 10**9)
    assert roofline.compute == pytest.approx(1)
    assert roofline.memory == pytest.approx(2)
    assert roofline.step == pytest.approx(2)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("all_reduce", 1.5),  # 2 * 3 / 4
        ("all_gather", 0.75),
        ("all_to_all", 0.75),
        ("reduce_scatter", 3.0),  # of a result that is a fourth
        ("collective_permute", 1.0),
    ],
)
def test_bytes_sent_are_those_of_a_ring(kind, sent):
    roofline = times("v5e:2x2", **{kind: Traffic(1, int(200e9))})
    assert roofline.transfer == pytest.approx(sent)


def test_latency_counts_the_way_to_the_farthest_chip():
    gathered = times("v5p:4x4x8", all_gather=Traffic(10, 0))
    assert gathered.latency == pytest.approx(10 * (2 + 2 + 4) * 1e-6)
    summed = times("v5p:4x4x8", all_reduce=Traffic(10, 0))
    assert summed.latency == pytest.approx(2 * gathered.latency)
    assert summed.step == pytest.approx(summed.latency)


def test_one_chip_sends_nothing():
    roofline = times("v5e:1x1", all_reduce=Traffic(7, 10**9))
    assert roofline.transfer == roofline.latency == 0


def test_nothing_is_estimated_for_cpus():
    assert times("cpu:8", flops=1e9) is None


def test_gpus_multiply_float32_at_half_the_rate():
    half, full = (
        times("h200:1", dtype=dtype, flops=1e12) for dtype in ("float32", "bfloat16")
    )
    assert half.compute == pytest.approx(2 * full.compute)
