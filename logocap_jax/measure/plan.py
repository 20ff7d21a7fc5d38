"""A config's training step, compiled for devices that need not be there."""

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from logocap_jax.experiment.run import TRAINING_ADVICE, Run, resolve
from logocap_jax.measure.programs import (
    Collective,
    Traffic,
    compile_program,
    find_collectives,
    growing_kinds,
    sum_by_kind,
)
from logocap_jax.measure.topologies import Topology, find_devices
from logocap_jax.measure.training import batch_shapes
from logocap_jax.sharding import DATA_AXIS, check_batch_size
from logocap_jax.skeletons import Skeleton
from logocap_jax.tables import format_table
from logocap_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """A compiled training step; all figures but the batch size are per device."""

    batch_size: int  #: images, all devices together
    compile_seconds: float  #: time to trace and compile
    memory: int  #: peak of arguments, results, temporaries and the program, bytes
    flops: float  #: operations of a step
    #: Bytes read and written in a step by XLA's cost analysis; None where it has no
    #: figure. It includes memory on the core.
    accessed: float | None
    collectives: list[Collective]  #: of a step

    @property
    def traffic(self) -> dict[str, Traffic]:
        """The collectives summed by kind."""
        return sum_by_kind(self.collectives)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The needs of a training step on a mesh."""

    topology: Topology  #: the mesh
    device_kind: str  #: JAX's name of the devices
    dtype: str  #: of the network's arithmetic
    skeleton: Skeleton  #: of the data; COCO's where the config has no data set
    #: Bytes of the parts of the training state; each device holds all.
    state: dict[str, int]
    step: CompiledStep  #: the step
    #: The step for another batch, to compare with; None: not compiled.
    other: CompiledStep | None

    @property
    def expected_traffic(self) -> int:
        """Bytes that data parallelism must sum: gradients and batch statistics."""
        return self.state["parameters"] + self.state["batch_statistics"]

    @property
    def warnings(self) -> list[str]:
        """Faults of the step, one line each."""
        lines = []
        if self.other is not None:
            pair = sorted((self.step, self.other), key=lambda step: step.batch_size)
            growing = growing_kinds(*(step.collectives for step in pair))
            lines = [
                f"{kind} grows with the batch, a sharding fault: {op_name or 'unknown'}"
                for kind, op_name in growing.items()
            ]
        chip = self.topology.chip
        if chip is not None and self.step.memory > chip.memory:
            lines.append(
                f"peak memory of {self.step.memory / 2**30:.1f} GiB exceeds the chip's "
                f"{chip.memory / 2**30:.0f} GiB; {TRAINING_ADVICE}"
            )
        return lines


def make_plan(config: ConfigDict, topology: Topology, *, compare: bool = True) -> Plan:
    """Compile a config's training step for a topology, and read its needs.

    With `compare` also for another batch, to see which collectives grow.

    Raises:
      ValueError: if a setting is out of range, the devices do not divide the batch, the
        devices cannot be compiled for, or the compiler finds that the step does not fit
        into a device's memory.
    """
    devices = find_devices(topology)
    mesh = Mesh(np.asarray(devices), (DATA_AXIS,))
    check_batch_size(config.batch_size, mesh, name="batch_size")
    run = resolve(config, mesh=mesh)
    other_size = _other_batch_size(config, topology.size)
    return Plan(
        topology=topology,
        device_kind=devices[0].device_kind,
        dtype=config.method.dtype,
        skeleton=run.skeleton,
        state=state_sizes(run.state_shapes()),
        step=_compile_step(run, config),
        other=_compile_step(_resize(config, other_size, mesh), config)
        if compare
        else None,
    )


def _other_batch_size(config: ConfigDict, devices: int) -> int:
    """Half the batch, which needs less memory, or twice where it has no half."""
    size = config.batch_size
    return size * 2 if size % (2 * devices * config.accumulate) else size // 2


def _resize(config: ConfigDict, batch_size: int, mesh: Mesh) -> Run:
    changed = copy.deepcopy(config)
    changed.batch_size = batch_size
    return resolve(changed, mesh=mesh)


def _compile_step(run: Run, config: ConfigDict) -> CompiledStep:
    step: Any = run.make_step()
    arguments = run.state_shapes(), batch_shapes(run)
    program = compile_program(step, *arguments, advice=TRAINING_ADVICE)
    assert program.memory is not None
    # XLA counts the body of a loop once, and for TPUs does not state the rounds. The
    # loop that matters is the one over the parts of a batch.
    parts = run.settings.accumulate
    flops = program.flops or _count_flops(run, config)
    return CompiledStep(
        batch_size=run.settings.batch_size,
        compile_seconds=program.compile_seconds,
        memory=program.memory.total,
        flops=flops * parts,
        accessed=program.accessed and program.accessed * parts,
        collectives=find_collectives(program.text, unknown_trips=parts),
    )


def _count_flops(run: Run, config: ConfigDict) -> float:
    """Operations of one device's share of the batch, before it is compiled.

    XLA counts none in the compiled program for GPUs that are not there.
    """
    alone = Mesh(np.asarray(jax.devices("cpu")[:1]), run.mesh.axis_names)
    share = _resize(config, run.settings.batch_size // run.mesh.size, alone)
    step: Any = share.make_step()
    lowered = step.lower(share.state_shapes(), batch_shapes(share))
    return lowered.cost_analysis()["flops"]


def state_sizes(state: TrainState) -> dict[str, int]:
    """Bytes of the parts of a state."""
    parts = {
        "parameters": state.params,
        "batch_statistics": state.batch_stats,
        "optimizer": state.opt_state,
        "moving_average": state.ema,
    }
    return {
        name: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
        for name, tree in parts.items()
    }


def format_plan(plan: Plan) -> str:
    """Lay out a plan as text."""
    count = plan.topology.size
    head = (
        f"{count} x {plan.device_kind}, {plan.step.batch_size} images a step, "
        f"{plan.step.batch_size // count} on each device, {plan.dtype}, "
        f"{plan.skeleton.num_keypoints} keypoints ({plan.skeleton.name})"
    )
    sections = [head, "", *_needs(plan), "", *_collectives(plan)]
    if plan.warnings:
        sections += ["", *(f"warning: {line}" for line in plan.warnings)]
    return "\n".join(sections)


def _needs(plan: Plan) -> Iterator[str]:
    step, chip = plan.step, plan.topology.chip
    rows = [[name.replace("_", " "), _megabytes(x)] for name, x in plan.state.items()]
    limit = [] if chip is None else [f"of {_megabytes(chip.memory)}"]
    rows.append(["peak memory", _megabytes(step.memory), *limit])
    rows.append(["operations of a step", f"{step.flops / 1e9:,.1f} GFLOP"])
    if step.accessed is not None:
        rows.append(["bytes accessed in a step", _megabytes(step.accessed)])
    yield "per device"
    yield from _indented(rows)


def _collectives(plan: Plan) -> Iterator[str]:
    step, other = plan.step, plan.other
    rows = [
        [
            kind,
            f"{size / 1e6:,.3f} MB",
            f"in {number}",
            f"({other.traffic[kind].size / 1e6:,.3f} MB)" if other else "",
        ]
        for kind, (number, size) in step.traffic.items()
    ]
    total = sum(traffic.size for traffic in step.traffic.values())
    share = total / plan.expected_traffic
    rows.append(["all", f"{share:.3f} x", "(parameters and batch statistics)"])
    note = f"; in brackets for {other.batch_size} images" if other else ""
    yield f"collectives of a step, per device{note}"
    yield from _indented(rows)


def _indented(rows: list[list[str]]) -> Iterator[str]:
    for line in format_table(rows, align="<><").splitlines():
        yield f"  {line}"


def _megabytes(size: int | float) -> str:
    return f"{size / 1e6:,.1f} MB"


def to_json(plan: Plan) -> dict[str, Any]:
    """The content of `--json`; sizes in bytes, times in seconds, all per device."""
    step, other, chip = plan.step, plan.other, plan.topology.chip
    return {
        "topology": plan.topology.name,
        "devices": plan.topology.size,
        "device_kind": plan.device_kind,
        "device_memory": chip and chip.memory,
        "batch_size": step.batch_size,
        "dtype": plan.dtype,
        "skeleton": plan.skeleton.name,
        "keypoints": plan.skeleton.num_keypoints,
        "state": plan.state,
        "peak_memory": step.memory,
        "flops": step.flops,
        "bytes_accessed": step.accessed,
        "collectives": _traffic_json(step),
        "expected_collectives": plan.expected_traffic,
        "other_batch_size": other and other.batch_size,
        "other_collectives": other and _traffic_json(other),
        "compile_seconds": step.compile_seconds,
        "warnings": plan.warnings,
    }


def _traffic_json(step: CompiledStep) -> dict[str, dict[str, int]]:
    return {
        kind: {"count": traffic.number, "bytes": traffic.size}
        for kind, traffic in step.traffic.items()
    }
