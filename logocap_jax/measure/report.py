"""A plan for people and for programs."""

from collections.abc import Iterator
from typing import Any

from logocap_jax.measure.chips import Chip
from logocap_jax.measure.compiled import CompiledStep
from logocap_jax.measure.plan import Plan
from logocap_jax.measure.topologies import HOP_SECONDS

_NAMES = {
    "parameters": "parameters",
    "batch_statistics": "batch statistics",
    "optimizer": "optimizer",
    "moving_average": "moving average",
}


def format_plan(plan: Plan) -> str:
    """The table of a plan."""
    count = plan.topology.size
    head = (
        f"{count} x {plan.device_kind}, {plan.step.batch_size} images a step, "
        f"{plan.step.batch_size // count} on each device, {plan.dtype}, "
        f"{plan.skeleton.num_keypoints} keypoints ({plan.skeleton.name})"
    )
    sections = [_needs(plan), _collectives(plan), _roofline(plan)]
    lines = [head]
    for section in sections:
        lines += ["", *section]
    if plan.warnings:
        lines += ["", *(f"warning: {line}" for line in plan.warnings)]
    return "\n".join(lines)


def to_json(plan: Plan) -> dict[str, Any]:
    """What `--json` writes; sizes in bytes, times in seconds, all per device."""
    step, other, chip, roofline = (
        plan.step,
        plan.other,
        plan.topology.chip,
        plan.roofline,
    )
    return {
        "topology": plan.topology.name,
        "devices": plan.topology.size,
        "device_kind": plan.device_kind,
        "batch_size": step.batch_size,
        "dtype": plan.dtype,
        "skeleton": plan.skeleton.name,
        "keypoints": plan.skeleton.num_keypoints,
        "state": plan.state,
        "peak_memory": step.memory,
        "flops": step.flops,
        "memory_traffic": step.accessed,
        "arithmetic_intensity": step.flops / step.accessed,
        "launches": step.launches,
        "collectives": _traffic_json(step),
        "expected_collectives": plan.expected_traffic,
        "other_batch_size": other and other.batch_size,
        "other_collectives": other and _traffic_json(other),
        "compile_seconds": step.seconds,
        "assumed": None if chip is None else _assumed(chip, plan.dtype),
        "roofline": None if roofline is None else roofline._asdict(),
        "step_seconds": None if roofline is None else roofline.step,
        "images_per_second": (
            None if roofline is None else step.batch_size / roofline.step
        ),
        "warnings": plan.warnings,
    }


def _traffic_json(step: CompiledStep) -> dict[str, dict[str, int]]:
    return {
        kind: {"count": traffic.number, "bytes": traffic.size}
        for kind, traffic in step.traffic.items()
    }


def _assumed(chip: Chip, dtype: str) -> dict[str, int | float]:
    return {
        "flops_per_second": chip.peak.flops(dtype),
        "memory": chip.memory,
        "memory_bandwidth": chip.peak.bandwidth,
        "link_bandwidth": chip.link_bandwidth,
        "hop_seconds": HOP_SECONDS,
    }


def _needs(plan: Plan) -> Iterator[str]:
    step, chip = plan.step, plan.topology.chip
    yield "per device"
    for name, size in plan.state.items():
        yield f"  {_NAMES[name]:22} {_megabytes(size)}"
    limit = "" if chip is None else f" of {chip.memory / 1e6:,.1f} MB"
    yield f"  {'peak memory':22} {_megabytes(step.memory)}{limit}"
    yield f"  {'FLOPs a step':22} {step.flops / 1e9:12,.1f} GFLOP"
    yield f"  {'memory traffic':22} {_megabytes(step.accessed)}"
    intensity = f"{step.flops / step.accessed:12,.1f} FLOP/byte"
    if chip is not None:
        balance = chip.peak.flops(plan.dtype) / chip.peak.bandwidth
        intensity += f"; above {balance:,.0f} arithmetic is the limit"
    yield f"  {'arithmetic intensity':22} {intensity}"
    yield f"  {'launches a step':22} {step.launches:12,d}"


def _collectives(plan: Plan) -> Iterator[str]:
    other = plan.other
    note = f"; in brackets for {other.batch_size} images" if other else ""
    yield f"collectives a step, per device{note}"
    for kind, (number, size) in plan.step.traffic.items():
        compared = f" ({other.traffic[kind].size / 1e6:,.3f} MB)" if other else ""
        yield f"  {kind:22} {size / 1e6:12,.3f} MB{compared} in {number}"
    total = sum(traffic.size for traffic in plan.step.traffic.values())
    share = total / plan.expected_traffic
    yield f"  {'all':22} {share:12.3f} x (parameters and batch statistics)"


def _roofline(plan: Plan) -> Iterator[str]:
    roofline, chip = plan.roofline, plan.topology.chip
    if roofline is None or chip is None:
        yield "no estimate of the time: nothing is assumed of such devices"
        return
    rows = {
        "arithmetic": (
            roofline.compute,
            f"at {chip.peak.flops(plan.dtype) / 1e12:,.0f} TFLOP/s",
        ),
        "memory": (roofline.memory, f"at {chip.peak.bandwidth / 1e9:,.0f} GB/s"),
        "collectives, bytes": (
            roofline.transfer,
            f"at {chip.link_bandwidth / 1e9:,.0f} GB/s, all links one way",
        ),
        "collectives, latency": (
            roofline.latency,
            f"at {HOP_SECONDS * 1e6:,.0f} us from chip to chip",
        ),
    }
    yield "roofline, per step"
    for name, (seconds, assumed) in rows.items():
        yield f"  {name:22} {seconds * 1e3:12,.1f} ms {assumed}"
    speed = plan.step.batch_size / roofline.step
    yield (
        f"  {'step':22} {roofline.step * 1e3:12,.1f} ms: the longer of arithmetic and "
        f"memory, and the collectives; {speed:,.0f} images/s"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:12,.1f} MB"
