"""A plan: a config's training step on a mesh, before the mesh is there."""

import copy
import dataclasses

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from logocap_jax.experiment.run import TRAINING_ADVICE, resolve
from logocap_jax.measure.collectives import growing_kinds
from logocap_jax.measure.compiled import (
    CompiledStep,
    compile_step,
    state_sizes,
)
from logocap_jax.measure.devices import find_devices
from logocap_jax.measure.roofline import Roofline, estimate
from logocap_jax.measure.topologies import Topology
from logocap_jax.sharding import DATA_AXIS, check_batch_size
from logocap_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training step needs on a mesh.

    Attributes:
      topology: the mesh.
      device_kind: JAX's name of the devices.
      dtype: of the network's arithmetic.
      skeleton: of the data; COCO's where the config has no data set.
      state: bytes of the parts of the training state, of which each device has all.
      step: the step.
      other: the step for another batch, to compare with; None: there is none.
    """

    topology: Topology
    device_kind: str
    dtype: str
    skeleton: Skeleton
    state: dict[str, int]
    step: CompiledStep
    other: CompiledStep | None

    @property
    def roofline(self) -> Roofline | None:
        """The estimate; None where the limits of the devices are not known."""
        step = self.step
        return estimate(
            self.topology,
            dtype=self.dtype,
            flops=step.flops,
            accessed=step.accessed,
            traffic=step.traffic,
        )

    @property
    def expected_traffic(self) -> int:
        """Bytes that data parallelism must sum: gradients and batch statistics."""
        return self.state["parameters"] + self.state["batch_statistics"]

    @property
    def growing(self) -> dict[str, str]:
        """Kinds of collectives that grow with the batch, and what they come from."""
        if self.other is None:
            return {}
        pair = sorted((self.step, self.other), key=lambda step: step.batch_size)
        return growing_kinds(*(step.collectives for step in pair))

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the step, one line each."""
        lines = [
            f"{kind} grows with the batch, a sharding fault: {op_name or 'unknown'}"
            for kind, op_name in self.growing.items()
        ]
        chip = self.topology.chip
        if chip is not None and self.step.memory > chip.memory:
            lines.append(
                f"peak memory of {self.step.memory / 2**30:.1f} GiB exceeds the chip's "
                f"{chip.memory / 2**30:.0f} GiB; {TRAINING_ADVICE}"
            )
        return lines


def make_plan(config: ConfigDict, topology: Topology, *, compare: bool = True) -> Plan:
    """Compile a config's training step for a topology and sum up what it needs.

    Args:
      config: see `experiment/settings.py`.
      topology: the mesh.
      compare: compile it for another batch, too, to see which collectives grow.

    Raises:
      ValueError: if a setting is out of range, the devices do not divide the batch, or
        the devices cannot be compiled for.
    """
    devices = find_devices(topology)
    mesh = Mesh(np.asarray(devices), (DATA_AXIS,))
    check_batch_size(config.batch_size, mesh, name="batch_size")
    step, other = compile_step(config, mesh), None
    if compare:
        changed = copy.deepcopy(config)
        changed.batch_size = _other_batch_size(config, topology.size)
        other = compile_step(changed, mesh)
    run = resolve(config, mesh=mesh)
    return Plan(
        topology=topology,
        device_kind=devices[0].device_kind,
        dtype=config.method.dtype,
        skeleton=run.skeleton,
        state=state_sizes(run.state_shapes()),
        step=step,
        other=other,
    )


def _other_batch_size(config: ConfigDict, devices: int) -> int:
    """Half the batch, which needs less memory, or twice where it has no half."""
    size = config.batch_size
    return size * 2 if size % (2 * devices * config.accumulate) else size // 2
