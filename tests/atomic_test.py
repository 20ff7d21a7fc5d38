import contextlib
import pathlib

import pytest

from logocap_jax.atomic import check_writable, replacing


def test_a_file_takes_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with contextlib.suppress(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_where_something_can_be_written_nothing_is_left(tmp_path):
    old = tmp_path / "old.txt"
    old.write_text("old")
    for path in (old, tmp_path / "new.txt", tmp_path / "new" / "folder" / "a.txt"):
        check_writable(path)
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "old"


def test_a_relative_name_is_one_in_the_folder_of_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable("a.txt")
    check_writable(pathlib.Path("new/a.txt"))
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_it_is_said_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="got a folder, expected a file"):
        check_writable(tmp_path)
    for path in (tmp_path / "file" / "a.txt", tmp_path / "file" / "new" / "a.txt"):
        with pytest.raises(ValueError, match="file takes no file: Not a dir") as caught:
            check_writable(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(not pathlib.Path("/proc/self").exists(), reason="no /proc")
def test_a_folder_that_refuses_files_also_of_root_is_found():
    with pytest.raises(ValueError, match="/proc takes no file: No such file"):
        check_writable("/proc/a.txt")
