from logocap_jax.measure.chips import CHIPS
from logocap_jax.measure.gpus import GPUS, describe_gpu
from logocap_jax.measure.peaks import PEAKS


def test_gpus_are_called_as_jax_calls_them():
    for name, model in GPUS.items():
        assert PEAKS[model.kind] is CHIPS[name].peak


def test_description_holds_what_xla_must_know():
    text = " ".join(describe_gpu(GPUS["a100"], memory=7, bandwidth=2e12).split())
    for expected in (
        'device_description_str: "NVIDIA A100-SXM4-80GB"',
        "cuda_compute_capability { major: 8 minor: 0 }",
        "core_count: 108",
        "device_memory_size: 7",
        "memory_bandwidth: 2000000000000",
        "shared_memory_per_block_optin: 166912",  # CUDA's guide: 163 KB
    ):
        assert expected in text
