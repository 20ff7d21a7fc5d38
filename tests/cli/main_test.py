import pytest

from logocap_jax import cli


def test_ctrl_c_ends_a_command_in_one_line(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.doctor, "run", interrupted)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_help_says_what_is_taken_where_nothing_is_given(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["predict", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "--short-side SHORT_SIDE input px (default 512)" in told
    assert "None" not in told
    assert "[]" not in told
