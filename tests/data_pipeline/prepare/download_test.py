"""Downloads from a server of this machine, which misbehaves when it is told to."""

import dataclasses
import hashlib
import http.server
import io
import pathlib
import threading
import zipfile

import pytest

from data_pipeline.prepare import download as module
from data_pipeline.prepare.download import (
    COCO_ADDRESS,
    COCO_ARCHIVES,
    Archive,
    download,
    lacking_archives,
    require_space,
)
from data_pipeline.read.layouts import COCO as LAYOUT
from data_pipeline.read.sources import open_source
from logocap_jax import cli


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`, and breaks off after `cut` bytes of each."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut: int | None = None

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/mirror"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        content = server.files.get(self.path.removeprefix("/mirror/"))
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: server.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _zipped(root, *names):
    """Files and folders of `root` in a zip file, with one more that nobody needs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("annotations/captions.json", "{}")
        for name in names:
            for path in sorted((root / name).rglob("*")) or [root / name]:
                archive.write(path, path.relative_to(root))
    return content.getvalue()


@pytest.fixture
def archives(server, write_coco):
    """Three images each of train and val, as COCO's own archives would hold them."""
    root = write_coco()
    found = []
    for archive in COCO_ARCHIVES:
        if "test-dev" not in archive.holds:
            content = _zipped(root, *archive.holds.values())
            server.files[archive.path] = content
            sha256 = hashlib.sha256(content).hexdigest()
            found.append(dataclasses.replace(archive, size=len(content), sha256=sha256))
    return found


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "downloaded"


def _assert_nothing_half_written(folder):
    for path in folder.rglob("*"):
        assert ".tmp." not in path.name
        assert not path.name.endswith(".incomplete")
    assert not [path for path in folder.iterdir() if path.name != "downloads"]


def _fails(folder, archives, server):
    with pytest.raises(ValueError, match="expected") as caught:
        download(folder, ["val"], archives, address=server.address)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_downloaded_is_what_training_reads(server, archives, folder):
    download(folder, ["train", "val"], archives, address=server.address)
    for split in ("train", "val"):
        assert len(open_source(folder, split)) == 3
    assert {path.name for path in folder.iterdir()} == {
        *("annotations", "train2017", "val2017", "downloads"),
    }
    assert not (folder / "annotations/captions.json").exists()


def test_only_the_splits_asked_for_are_downloaded(server, archives, folder):
    download(folder, ["val"], archives, address=server.address)
    assert len(open_source(folder, "val")) == 3
    assert not LAYOUT.annotation_file(folder, "train").exists()
    assert not any("train2017" in path for path in server.asked)


def test_what_is_there_is_not_downloaded_again(server, archives, folder):
    download(folder, ["val"], archives, address=server.address)
    server.asked.clear()
    download(folder, ["val"], archives, address=server.address)
    assert not server.asked
    download(folder, ["train", "val"], archives, address=server.address)
    # The annotations of both lie in one archive, which is kept.
    assert server.asked == ["/mirror/zips/train2017.zip"]
    (folder / "val2017").rename(folder / "images")
    (folder / "images").rename(folder / "val")
    (folder / "images").mkdir()
    (folder / "val").rename(folder / "images" / "val2017")
    assert not lacking_archives(folder, ["train", "val"], archives)


def test_an_archive_in_the_folder_itself_is_taken(server, archives, folder):
    folder.mkdir()
    for archive in archives:
        (folder / archive.name).write_bytes(server.files[archive.path])
    download(folder, ["train", "val"], archives, address=server.address)
    assert not server.asked
    assert len(open_source(folder, "train")) == 3


def test_a_transfer_that_breaks_off_leaves_nothing_and_can_be_repeated(
    server, archives, folder
):
    server.cut = 100
    message = _fails(folder, archives, server)
    assert message.startswith(f"{server.address}/annotations/annotations_trainval2017")
    assert "got no whole file" in message
    assert "run the command again" in message
    _assert_nothing_half_written(folder)
    server.cut = None
    download(folder, ["val"], archives, address=server.address)
    assert len(open_source(folder, "val")) == 3


def test_a_file_that_is_not_there_is_named(server, archives, folder):
    del server.files["zips/val2017.zip"]
    message = _fails(folder, archives, server)
    assert message.startswith(f"{server.address}/zips/val2017.zip: got no whole file")
    assert "404" in message
    # What came before it stays.
    assert LAYOUT.annotation_file(folder, "val").is_file()
    assert not (folder / "val2017").exists()


@pytest.mark.parametrize("change", [b"more", b""], ids=["longer", "empty"])
def test_a_file_of_another_size_is_refused(server, archives, folder, change):
    path = "annotations/annotations_trainval2017.zip"
    content = server.files[path] + change if change else b""
    server.files[path] = content
    message = _fails(folder, archives, server)
    assert f"{path}: got another file, of {len(content):,d} bytes" in message
    _assert_nothing_half_written(folder)


def test_a_damaged_archive_is_named_and_nothing_of_it_is_kept(server, archives, folder):
    """One whose sum is right, and whose content is not."""
    (position,) = [i for i, a in enumerate(archives) if a.name == "val2017.zip"]
    content = bytearray(server.files["zips/val2017.zip"])
    content[len(content) // 2] ^= 1
    server.files["zips/val2017.zip"] = bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    archives[position] = dataclasses.replace(archives[position], sha256=sha256)
    message = _fails(folder, archives, server)
    assert "got a damaged archive" in message
    assert {path.name for path in folder.iterdir()} == {"annotations", "downloads"}


def test_an_archive_without_what_is_needed_is_named(server, archives, folder):
    archives = [dataclasses.replace(a, holds={"val": "other"}) for a in archives[:1]]
    assert "got an archive without 'other'" in _fails(folder, archives, server)


def test_members_that_lead_elsewhere_stay_inside(server, folder, tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("val2017/../../escaped", "x")
        file.writestr("val2017/1.jpg", "x")
    server.files["a.zip"] = content.getvalue()
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    archive = Archive("a.zip", len(content.getvalue()), sha256, {"val": "val2017"})
    download(folder, ["val"], [archive], address=server.address)
    assert not list(tmp_path.rglob("../escaped"))
    assert all("downloaded" in str(path) for path in tmp_path.rglob("escaped"))


def test_too_little_disk_space_is_told_before_anything_is_written(archives, folder):
    huge = [dataclasses.replace(archives[0], size=10**18)]
    with pytest.raises(ValueError, match=r"got \d+\.\d GB of free disk space") as error:
        require_space(folder, folder / "out", huge)
    assert "expected 3000000000.0 GB" in str(error.value)
    assert "\n" not in str(error.value)
    assert not folder.exists()


def test_archives_that_are_there_need_no_space_to_download(folder, archives, server):
    download(folder, ["val"], archives, address=server.address)
    text = require_space(folder, folder / "out", archives[:1])
    assert text.startswith("0.0 GB to download")


def test_unknown_splits_are_refused(folder):
    with pytest.raises(ValueError, match=r"\['test'\].*'test-dev', 'train', 'val'"):
        lacking_archives(folder, ["test"], COCO_ARCHIVES)


def test_the_archives_hold_what_the_layout_of_coco_names():
    held = {path for archive in COCO_ARCHIVES for path in archive.holds.values()}
    names = {f"annotations/{name}" for name in LAYOUT.annotations.values()}
    folders = {folders[-1] for folders in LAYOUT.image_folders.values()}
    assert held == names | folders


def test_the_command_downloads_and_prepares(
    server, archives, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(module, "COCO_ARCHIVES", archives)
    out = tmp_path / "out"
    arguments = ["prepare", "coco", "--coco-dir", str(folder), "--out", str(out)]
    arguments += ["--download", "--base-url", server.address]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert text.index("to download") < text.index("train: 3 images written")
    assert len(open_source(out, "val")) == 3
    server.asked.clear()
    assert cli.main(arguments) == 0
    assert not server.asked


def test_the_command_tells_a_server_of_other_files_in_one_line(
    server, archives, folder, tmp_path, capsys
):
    """COCO's own sums do not fit what is served here."""
    arguments = ["--coco-dir", str(folder), "--out", str(tmp_path / "out")]
    arguments += ["--download", "val", "--base-url", server.address]
    assert cli.main(["prepare", "coco", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {server.address}/annotations/annotations_trainval")
    assert "got another file" in error
    assert not (tmp_path / "out").exists()


def test_the_address_is_cocos_own():
    assert COCO_ADDRESS == "http://images.cocodataset.org"
    assert pathlib.PurePath(COCO_ARCHIVES[-1].path).name == "train2017.zip"
