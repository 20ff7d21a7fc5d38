"""What accelerators can do at most."""

from typing import NamedTuple


class Peak(NamedTuple):
    """The rates of one device.

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


class Chip(NamedTuple):
    """What a chip and its links can do at most.

    Attributes:
      peak: its rates.
      memory: bytes.
      link_bandwidth: of all links to other chips together, one way, bytes/s.
      axes: of the torus that the links make; 1 also where a switch joins all chips.
      largest: number of chips that one slice, or one such switch, has at most.
    """

    peak: Peak
    memory: int
    link_bandwidth: float
    axes: int
    largest: int


def nvidia_peak(bfloat16: float, bandwidth: float) -> Peak:
    """From TFLOP/s and GB/s; TF32 runs at half the rate of bfloat16."""
    return Peak(bfloat16 * 1e12, bfloat16 / 2 * 1e12, bandwidth * 1e9)


def tpu_peak(bfloat16: float, bandwidth: float) -> Peak:
    """From TFLOP/s and GB/s."""
    return Peak(bfloat16 * 1e12, bfloat16 * 1e12, bandwidth * 1e9)


# TPUs: the pages "TPU v5e", "TPU v5p" and "TPU v6e" of Google Cloud's documentation,
# read in November 2026; the bandwidth of links there, as of NVLink, is that of both
# ways. GPUs: NVIDIA's data sheets of the SXM modules, rates without sparsity; switches
# join the eight of an HGX.
CHIPS: dict[str, Chip] = {
    "v5e": Chip(tpu_peak(197.0, 819.0), 16 * 2**30, 400e9 / 2, axes=2, largest=256),
    "v5p": Chip(tpu_peak(459.0, 2765.0), 95 * 2**30, 1200e9 / 2, axes=3, largest=6144),
    "v6e": Chip(tpu_peak(918.0, 1638.0), 32 * 2**30, 800e9 / 2, axes=2, largest=256),
    "a100": Chip(nvidia_peak(312.0, 2039.0), 80 * 10**9, 600e9 / 2, axes=1, largest=8),
    "h100": Chip(nvidia_peak(989.4, 3350.0), 80 * 10**9, 900e9 / 2, axes=1, largest=8),
    "h200": Chip(nvidia_peak(989.4, 4800.0), 141 * 10**9, 900e9 / 2, axes=1, largest=8),
}
