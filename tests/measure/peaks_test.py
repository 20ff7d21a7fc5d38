from logocap_jax.measure.peaks import PEAKS, find_peak


def test_float32_is_tf32_on_gpus_and_bfloat16_on_tpus():
    gpu, tpu = find_peak("NVIDIA H200"), find_peak("TPU v5 lite")
    assert gpu.flops("bfloat16") == 989.4e12
    assert gpu.flops("float32") == 494.7e12
    assert tpu.flops("bfloat16") == tpu.flops("float32") == 197e12


def test_no_device_computes_faster_than_it_can_read_once_in_a_minute():
    for peak in PEAKS.values():
        assert 50 < peak.bfloat16 / peak.bandwidth < 600


def test_what_is_not_known_is_not_guessed():
    assert find_peak("cpu") is None
