"""What devices can do at most, by their kind as JAX calls it."""

from logocap_jax.measure.chips import CHIPS, Peak, nvidia_peak, tpu_peak

# For those that `logocap plan` does not know: NVIDIA's data sheets, figures without
# sparsity; TPU v4: its page in Google Cloud's documentation.
PEAKS: dict[str, Peak] = {
    "NVIDIA H200": CHIPS["h200"].peak,
    "NVIDIA H100 80GB HBM3": CHIPS["h100"].peak,
    "NVIDIA H100 PCIe": nvidia_peak(756.0, 2000.0),
    "NVIDIA A100-SXM4-80GB": CHIPS["a100"].peak,
    "NVIDIA A100-SXM4-40GB": nvidia_peak(312.0, 1555.0),
    "NVIDIA A100 80GB PCIe": nvidia_peak(312.0, 1935.0),
    "NVIDIA A100-PCIE-40GB": nvidia_peak(312.0, 1555.0),
    "TPU v4": tpu_peak(275.0, 1228.0),
    "TPU v5 lite": CHIPS["v5e"].peak,
    "TPU v5e": CHIPS["v5e"].peak,
    "TPU v5": CHIPS["v5p"].peak,
    "TPU v5p": CHIPS["v5p"].peak,
    "TPU v6 lite": CHIPS["v6e"].peak,
    "TPU v6e": CHIPS["v6e"].peak,
}


def find_peak(device_kind: str) -> Peak | None:
    """The limits of a kind of device; None where they are not known."""
    return PEAKS.get(device_kind)
