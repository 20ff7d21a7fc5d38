import re
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow


def test_the_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("furo", reason="the extra [docs] is not installed")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "docs", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    commands = (tmp_path / "commands.html").read_text(encoding="utf-8")
    assert "--coordinator" in commands
    assert "--score-threshold" in commands
    api = (tmp_path / "_api/logocap_jax.oks.html").read_text(encoding="utf-8")
    assert "points: Float[Array, " in re.sub("<[^>]+>", "", api)
