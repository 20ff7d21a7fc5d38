"""File names in annotations, as hostile as they come, and what becomes of each."""

import os
import unicodedata

import pytest

from data_pipeline.read.coco_checks import find_file, image_faults

# Refused before the file system is asked.
REFUSED = {
    "above": "../x.jpg",
    "absolute": "/etc/passwd",
    "device": "/dev/zero",
    "above by way of a folder": "sub/../../x.jpg",
    "another folder of the same start": "../images2/x.jpg",
    "above at the end": "sub/..",
    "back to the folder": "sub/../good.jpg",
    "nothing": "",
    "the folder itself": ".",
    "a zero byte": "good.jpg\0.png",
    "a line break": "good\n.jpg",
    "what drives a terminal": "\x1b[2Jgood.jpg",
    "a backslash": "..\\x.jpg",
    "too long": "a" * 1025,
    "a number": 7,
    "a list": ["good.jpg"],
}
# Refused for what is there.
NOT_FILES = {
    "absent": ("absent.jpg", "got no file"),
    "a folder": ("sub", "got no file"),
    "a pipe": ("pipe", "got no file"),
    "a link out of the folder": ("out.jpg", "a link out of"),
    "a folder linked out": ("elsewhere/x.jpg", "a link out of"),
    "a link to itself": ("loop.jpg", "expected a file|got no file"),
    "a name that no file system has": ("a" * 300, "expected a file|got no file"),
}
GOOD = ["good.jpg", "sub/good.jpg", "./good.jpg", "link.jpg", "ü 1.jpg"]

pytestmark = pytest.mark.row("paths")


@pytest.fixture
def folder(tmp_path):
    images, outside = tmp_path / "images", tmp_path / "images2"
    (images / "sub").mkdir(parents=True)
    outside.mkdir()
    for path in (images / "good.jpg", images / "sub" / "good.jpg", images / "ü 1.jpg"):
        path.touch()
    for path in (outside / "x.jpg", tmp_path / "x.jpg"):
        path.touch()
    (images / "link.jpg").symlink_to("sub/good.jpg")
    (images / "out.jpg").symlink_to("../x.jpg")
    (images / "elsewhere").symlink_to(outside)
    (images / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(images / "pipe")
    return images.resolve()


def faults(name, folder):
    entry = {"id": 1, "file_name": name, "width": 64, "height": 48}
    return image_faults(entry, folder=folder)


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_a_name_that_could_lead_out_is_refused_in_one_line(folder, name):
    (fault,) = faults(name, folder)
    assert fault.startswith("got file_name ")
    assert "a relative path that stays in its folder" in fault
    assert fault.isprintable()
    assert len(fault) < 200


@pytest.mark.parametrize(("name", "reason"), NOT_FILES.values(), ids=NOT_FILES)
def test_a_name_of_no_file_of_the_folder_is_refused_in_one_line(folder, name, reason):
    (fault,) = faults(name, folder)
    assert any(part in fault for part in reason.split("|"))
    assert fault.isprintable()


@pytest.mark.parametrize("name", GOOD)
def test_a_name_of_a_file_of_the_folder_is_good(folder, name):
    assert faults(name, folder) == []


@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "name", ["Zoë.jpg", "ñandú/Å.jpg", "한글.jpg", "が.jpg", "a.jpg"]
)
def test_letters_with_accents_are_found_in_either_form(tmp_path, listed, on_disk, name):
    there = tmp_path / unicodedata.normalize(on_disk, name)
    there.parent.mkdir(exist_ok=True)
    there.touch()
    asked = unicodedata.normalize(listed, name)
    assert faults(asked, tmp_path.resolve()) == []
    assert find_file(tmp_path, asked).is_file()


def test_a_name_of_another_letter_is_not_found(tmp_path):
    (tmp_path / "Zoe.jpg").touch()
    (fault,) = faults("Zoë.jpg", tmp_path.resolve())
    assert fault.startswith("got no file")
