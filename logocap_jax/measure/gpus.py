"""What XLA's compiler for GPUs must know of one that is not there."""

from typing import NamedTuple


class GpuModel(NamedTuple):
    """A GPU's multiprocessors.

    Attributes:
      kind: the GPU's name, as JAX gives it.
      capability: CUDA's compute capability.
      processors: number of multiprocessors.
      lanes: of each, for float32.
      shared_memory: of each, bytes; a block of threads gets 1 KiB less.
      cache: bytes of the second level.
      clock_ghz: at most.
    """

    kind: str
    capability: tuple[int, int]
    processors: int
    lanes: int
    shared_memory: int
    cache: int
    clock_ghz: float


# The architectures' white papers, and "Compute Capabilities" of NVIDIA's guide to CUDA.
_HOPPER = GpuModel("", (9, 0), 132, 128, 228 * 2**10, 50 * 2**20, 1.98)
GPUS: dict[str, GpuModel] = {
    "h200": _HOPPER._replace(kind="NVIDIA H200"),
    "h100": _HOPPER._replace(kind="NVIDIA H100 80GB HBM3"),
    "a100": GpuModel(
        "NVIDIA A100-SXM4-80GB", (8, 0), 108, 64, 164 * 2**10, 40 * 2**20, 1.41
    ),
}


def describe_gpu(model: GpuModel, *, memory: int, bandwidth: float) -> str:
    """A GPU in the form that XLA reads, a `GpuTargetConfigProto` as text.

    Args:
      model: its multiprocessors.
      memory: bytes.
      bandwidth: of that, bytes/s.
    """
    major, minor = model.capability
    return f"""
        platform_name: "CUDA"
        device_description_str: "{model.kind}"
        dnn_version_info {{ major: 9 minor: 8 }}
        gpu_device_info {{
          cuda_compute_capability {{ major: {major} minor: {minor} }}
          core_count: {model.processors}
          fpus_per_core: {model.lanes}
          clock_rate_ghz: {model.clock_ghz}
          device_memory_size: {memory}
          memory_bandwidth: {bandwidth:.0f}
          l2_cache_size: {model.cache}
          shared_memory_per_core: {model.shared_memory}
          shared_memory_per_block_optin: {model.shared_memory - 2**10}
          shared_memory_per_block: 49152
          registers_per_core_limit: 65536
          registers_per_block_limit: 65536
          threads_per_warp: 32
          threads_per_block_limit: 1024
          threads_per_core_limit: 2048
          block_dim_limit_x: 2147483647
          block_dim_limit_y: 65535
          block_dim_limit_z: 65535
        }}
    """
