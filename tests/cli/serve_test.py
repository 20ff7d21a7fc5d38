import sys

import pytest

from logocap_jax import cli
from logocap_jax.cli.serve import is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *(("127.0.0.1", True), ("127.0.0.9", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("192.168.1.7", False), ("::", False)),
        ("myhost", False),
    ],
)
def test_a_loopback_address_is_known(host, expected):
    assert is_loopback(host) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_without_gradio_it_is_said_what_to_install_and_of_others_warned(
    host, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "gradio", None)  # as if it were not installed
    assert cli.main(["serve", "--weights", "w", "--host", host]) == 2
    *warnings, error = capsys.readouterr().err.splitlines()
    assert "pip install 'logocap-jax[demo]'" in error
    assert len(warnings) == (host == "0.0.0.0")
    assert all("has no password" in line for line in warnings)


def test_weights_that_are_not_there_are_named(capsys):
    pytest.importorskip("gradio", reason="the [demo] extra (gradio) is not installed")
    assert cli.main(["serve", "--weights", "none.pth"]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "none.pth: no such weights" in error
