"""The training step, compiled for devices that need not be there."""

import copy
import dataclasses
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipeline.feed.examples import empty_example
from logocap_jax.device_memory import explaining_memory
from logocap_jax.experiment.run import TRAINING_ADVICE, resolve
from logocap_jax.measure.collectives import (
    Collective,
    Traffic,
    find_collectives,
    sum_by_kind,
)
from logocap_jax.measure.hlo import parse_hlo
from logocap_jax.measure.launches import count_launches
from logocap_jax.measure.memory_traffic import main_memory_bytes
from logocap_jax.sharding import batch_sharding
from logocap_jax.structures import Batch
from logocap_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """What XLA tells of a step; all per device.

    Attributes:
      batch_size: images of it, all devices together.
      seconds: that tracing and compiling took.
      memory: bytes at the peak: arguments, results, temporaries and the program.
      flops: of a step.
      accessed: bytes of a step to and from main memory.
      launches: instructions of a step that are not fused into others.
      collectives: of a step.
    """

    batch_size: int
    seconds: float
    memory: int
    flops: float
    accessed: int
    launches: int
    collectives: list[Collective]

    @property
    def traffic(self) -> dict[str, Traffic]:
        """The collectives of each kind together."""
        return sum_by_kind(self.collectives)


def compile_step(config: ConfigDict, mesh: Mesh) -> CompiledStep:
    """Compile a config's training step, as `train.py` runs it.

    Args:
      config: see `experiment/settings.py`.
      mesh: devices, real ones or of a topology.

    Raises:
      ValueError: if a setting is out of range, the devices do not divide the batch, or
        the compiler finds that the step does not fit into a device's memory.
    """
    start = time.perf_counter()
    with explaining_memory(TRAINING_ADVICE):
        compiled = _lower(config, mesh).compile()
    module = parse_hlo(compiled.as_text())
    # XLA counts what is in a loop once, and for TPUs does not tell how long one is. The
    # loop that matters is the one over the parts of a batch.
    parts = config.accumulate
    return CompiledStep(
        batch_size=config.batch_size,
        seconds=time.perf_counter() - start,
        memory=_peak_memory(compiled.memory_analysis()),
        flops=_count_flops(compiled, config, mesh) * parts,
        accessed=main_memory_bytes(module, unknown_trips=parts),
        launches=count_launches(module, unknown_trips=parts),
        collectives=find_collectives(module, unknown_trips=parts),
    )


def _lower(config: ConfigDict, mesh: Mesh) -> Any:
    run = resolve(config, mesh=mesh)
    step: Any = run.make_step()
    return step.lower(run.state_shapes(), batch_shapes(config, mesh))


def _count_flops(compiled: Any, config: ConfigDict, mesh: Mesh) -> float:
    """What XLA counts in the compiled program, or else before it compiles.

    It counts nothing for GPUs that are not there; then one device's share of the batch
    is counted on a CPU.
    """
    costs = compiled.cost_analysis()
    if costs is None:
        share = copy.deepcopy(config)
        share.batch_size //= mesh.size
        alone = Mesh(np.asarray(jax.devices("cpu")[:1]), mesh.axis_names)
        costs = _lower(share, alone).cost_analysis()
    return costs["flops"]


def batch_shapes(config: ConfigDict, mesh: Mesh) -> Batch:
    """Shapes, dtypes and placement of a config's training batches."""
    count, side, people = (
        config.batch_size,
        config.data.input_size,
        config.data.max_people,
    )
    example = empty_example(
        (side, side),
        num_keypoints=resolve(config, mesh=mesh).skeleton.num_keypoints,
        max_people=people,
    )
    sharding = batch_sharding(mesh)

    def shaped(array: np.ndarray) -> Any:
        shape = (count, *array.shape)
        return jax.ShapeDtypeStruct(shape, array.dtype, sharding=sharding)

    return Batch(**jax.tree.map(shaped, example))


def state_sizes(state: TrainState) -> dict[str, int]:
    """Bytes of the parts of a state, of which each device holds a copy."""
    parts = {
        "parameters": state.params,
        "batch_statistics": state.batch_stats,
        "optimizer": state.opt_state,
        "moving_average": state.ema,
    }
    return {name: _size(tree) for name, tree in parts.items()}


def _size(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _peak_memory(memory: Any) -> int:
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
    )
