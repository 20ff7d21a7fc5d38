"""How long a step takes at least, by the limits of a chip."""

from collections.abc import Mapping
from typing import NamedTuple

from logocap_jax.measure.collectives import Traffic
from logocap_jax.measure.topologies import HOP_SECONDS, Topology


class Roofline(NamedTuple):
    """Seconds that a step takes on each chip for its own reasons.

    Attributes:
      compute: all FLOPs at the peak rate.
      memory: all bytes to and from main memory, at the peak bandwidth.
      transfer: the bytes of the collectives, at the bandwidth of all links.
      latency: of the collectives, were they as small as can be.
    """

    compute: float
    memory: float
    transfer: float
    latency: float

    @property
    def step(self) -> float:
        """An estimate of the step, seconds.

        Arithmetic hides behind access to the memory, or that behind arithmetic.
        Collectives hide behind nothing: what follows a batch norm waits for its sums.
        """
        return max(self.compute, self.memory) + self.transfer + self.latency


def estimate(
    topology: Topology,
    *,
    dtype: str,
    flops: float,
    accessed: int,
    traffic: Mapping[str, Traffic],
) -> Roofline | None:
    """Bound the time of a step.

    Args:
      topology: the mesh; the collectives are taken to go over all of it.
      dtype: of the arithmetic.
      flops: of a step, per device.
      accessed: bytes of a step to and from main memory, per device.
      traffic: collectives of a step, by kind.

    Returns:
      The times; None where the limits of the devices are not known.
    """
    chip, size = topology.chip, topology.size
    if chip is None:
        return None
    # What a ring algorithm sends from each device, per byte of the result.
    part = (size - 1) / size
    sent = {"all-reduce": 2 * part, "reduce-scatter": size - 1, "collective-permute": 1}
    sent_bytes = sum(sent.get(kind, part) * t.size for kind, t in traffic.items())
    # An all-reduce goes to the farthest chip and back.
    ways = {"all-reduce": 2}
    trips = sum(ways.get(kind, 1) * t.number for kind, t in traffic.items())
    return Roofline(
        compute=flops / chip.peak.flops(dtype),
        memory=accessed / chip.peak.bandwidth,
        transfer=sent_bytes / chip.link_bandwidth,
        latency=trips * topology.diameter * HOP_SECONDS,
    )
