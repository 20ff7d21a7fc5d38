"""A W32 of 144 MB."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import logocap_jax
from logocap_jax.weights import files
from logocap_jax.weights.torch_files import write_zip

# Converts, then prints the process's own peak memory in KiB.
CONVERT = """
import argparse, pathlib, sys
from logocap_jax.cli import convert
parser = argparse.ArgumentParser()
convert.add_arguments(parser)
convert.run(parser.parse_args(sys.argv[1:]))
(line,) = [
    line
    for line in pathlib.Path("/proc/self/status").read_text().splitlines()
    if line.startswith("VmHWM")
]
print(line.split()[1])
"""


@pytest.fixture(scope="module")
def w32_file(tmp_path_factory, w32_state):
    path = tmp_path_factory.mktemp("full_size") / "w32.pth"
    write_zip(path, w32_state)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc for the peak memory")
@pytest.mark.parametrize(
    "target", ["out.safetensors", pytest.param("out", marks=pytest.mark.slow)]
)
def test_conversion_needs_less_than_a_gibibyte(tmp_path, w32_file, target):
    result = subprocess.run(
        [sys.executable, "-c", CONVERT, str(w32_file), str(tmp_path / target)],
        check=True,
        capture_output=True,
        text=True,
        cwd=pathlib.Path(logocap_jax.__file__).parents[1],
    )
    assert int(result.stdout.split()[-1]) < 1 << 20


def test_full_size_state_dict_returns_bit_for_bit(tmp_path, w32_file, w32_state):
    variables = files.load_weights(w32_file)
    files.save_torch(tmp_path / "back.pth", variables)
    back = files.read_file(tmp_path / "back.pth")
    assert back.keys() == w32_state.keys()
    assert all(np.array_equal(back[key], array) for key, array in w32_state.items())
