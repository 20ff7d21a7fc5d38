import os
import re
import subprocess
import sys

import jax
import pytest

from logocap_jax import cli
from logocap_jax.cli import doctor

LINE = re.compile(r"(ok|NOT OK) +(\w[\w-]*) +(\S.*)")


def test_every_check_has_a_line_and_the_exit_code_counts_them(capsys):
    code = cli.main(["doctor"])
    *lines, verdict = capsys.readouterr().out.splitlines()
    found = [LINE.fullmatch(line).groups() for line in lines]
    assert [name for _, name, _ in found if name != "memory"] == [
        *("python", "packages", "devices", "cache", "compile", "step", "decode")
    ]
    computing = [ok for ok, name, _ in found if name in ("compile", "step", "decode")]
    assert computing == ["ok"] * 3
    bad = sum(ok != "ok" for ok, _, _ in found)
    assert code == (bad > 0)
    assert verdict == (f"{bad} of the lines above are not ok" if bad else "all is well")


def test_a_jax_that_does_not_start_is_told_with_what_to_do():
    code = "import sys; from logocap_jax import cli; sys.exit(cli.main(['doctor']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"JAX_PLATFORMS": "nope"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if "devices" in line)
    assert line.startswith("NOT OK  devices")
    assert line.endswith(": JAX_PLATFORMS=nope may be wrong")
    assert "Traceback" not in done.stderr


def test_packages_that_are_absent_or_of_another_version_are_named():
    requirements = [
        "numpy>=2",
        "numpy<1",
        "no-such-package>=3",
        "nothing; extra == 'dev'",
        "nothing; python_version < '3'",
    ]
    (old, found), absent = doctor.package_faults(requirements)
    assert old == "numpy<1"
    assert re.fullmatch(r"numpy is \d+\.\d+.*", found)
    assert absent == ("no-such-package>=3", "no-such-package is missing")


@pytest.mark.parametrize(("gib", "ok"), [(1.5, False), (2, True), (80, True)])
def test_little_memory_is_not_ok(gib, ok):
    line = doctor.memory_line("host", int(gib * 2**30), "end other programs")
    assert line.ok == ok
    assert line.text.startswith(f"host: {gib:.1f} GiB free")
    assert line.text.endswith("end other programs") != ok


def test_a_cache_that_cannot_be_written_is_not_ok(tmp_path):
    (tmp_path / "file").write_text("")
    before = jax.config.values["jax_compilation_cache_dir"]
    try:
        for folder, ok in ((tmp_path / "a" / "b", True), (tmp_path / "file/b", False)):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            assert doctor.check_cache().ok == ok
        jax.config.update("jax_compilation_cache_dir", "")
        assert doctor.check_cache().text.startswith("none: ")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert not (tmp_path / "a").exists()
