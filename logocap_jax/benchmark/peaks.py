"""What devices can do at most, by their kind as JAX calls it."""

from typing import NamedTuple

from logocap_jax.planning.topologies import CHIPS, Chip


class Peak(NamedTuple):
    """The limits of one device.

    Attributes:
      bfloat16: dense matrix products in bfloat16, FLOP/s.
      float32: the same of float32 arrays at JAX's default precision, FLOP/s. That is
        TF32 on NVIDIA's GPUs and one pass of bfloat16 on TPUs.
      bandwidth: of the device's memory, bytes/s.
    """

    bfloat16: float
    float32: float
    bandwidth: float

    def flops(self, dtype: str) -> float:
        """FLOP/s in a dtype; float16 is as fast as bfloat16."""
        return self.float32 if dtype == "float32" else self.bfloat16


def _nvidia(bfloat16: float, bandwidth: float) -> Peak:
    """From TFLOP/s and GB/s; TF32 runs at half the rate of bfloat16."""
    return Peak(bfloat16 * 1e12, bfloat16 / 2 * 1e12, bandwidth * 1e9)


def _tpu(chip: Chip) -> Peak:
    return Peak(chip.flops, chip.flops, chip.memory_bandwidth)


# NVIDIA: the data sheets of H200, H100 and A100, figures without sparsity. TPU v4: its
# page in Google Cloud's documentation; the other TPUs: see `planning.topologies`.
PEAKS: dict[str, Peak] = {
    "NVIDIA H200": _nvidia(989.4, 4800.0),
    "NVIDIA H100 80GB HBM3": _nvidia(989.4, 3350.0),
    "NVIDIA H100 PCIe": _nvidia(756.0, 2000.0),
    "NVIDIA A100-SXM4-80GB": _nvidia(312.0, 2039.0),
    "NVIDIA A100-SXM4-40GB": _nvidia(312.0, 1555.0),
    "NVIDIA A100 80GB PCIe": _nvidia(312.0, 1935.0),
    "NVIDIA A100-PCIE-40GB": _nvidia(312.0, 1555.0),
    "TPU v4": Peak(275e12, 275e12, 1228e9),
    "TPU v5 lite": _tpu(CHIPS["v5e"]),
    "TPU v5e": _tpu(CHIPS["v5e"]),
    "TPU v5": _tpu(CHIPS["v5p"]),
    "TPU v5p": _tpu(CHIPS["v5p"]),
    "TPU v6 lite": _tpu(CHIPS["v6e"]),
    "TPU v6e": _tpu(CHIPS["v6e"]),
}


def find_peak(device_kind: str) -> Peak | None:
    """The limits of a kind of device; None where they are not known."""
    return PEAKS.get(device_kind)
