"""Downloads from a server on this machine that misbehaves in every way."""

import hashlib
import http.server
import os
import pathlib
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from logocap_jax.public_weights import PublicWeights
from logocap_jax.weights import download, named
from logocap_jax.weights.download import Source, fetch
from logocap_jax.weights.named import find_named, find_weights, where

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTENT = np.random.default_rng(0).bytes(300_000)
SUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the first part of the path."""

    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        """Send the content, or something else."""
        kind = self.path.split("/")[1]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.server.asked.append((kind, start))
        getattr(self, f"answer_{kind}")(start)

    def head(self, status, length, **headers):
        """The status line and headers."""
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def answer_whole(self, start):
        """From a byte on, as asked."""
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.head(206 if start else 200, len(CONTENT) - start)
        self.wfile.write(CONTENT[start:])

    def answer_cut(self, start):
        """At most 100,000 bytes a connection."""
        self.head(206 if start else 200, len(CONTENT) - start)
        self.wfile.write(CONTENT[start : start + 100_000])

    def answer_half(self, start):
        """Never more than the first half."""
        self.head(206 if start else 200, len(CONTENT) - start)
        self.wfile.write(CONTENT[start:150_000])

    def answer_anew(self, start):
        """As if nothing had been asked."""
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT)

    def answer_other(self, start):
        """Other bytes."""
        self.head(200, 20)
        self.wfile.write(b"<html>Sign in</html>")

    def answer_redirect(self, start):
        """The content is elsewhere."""
        self.head(302, 0, Location=f"/whole/{self.path.rpartition('/')[2]}")

    def answer_missing(self, start):
        """Nothing is here."""
        self.send_error(404)

    def answer_broken(self, start):
        """The server has a fault."""
        self.send_error(500)

    def answer_stuck(self, start):
        """A few bytes, then silence."""
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT[:10])
        self.wfile.flush()
        self.server.ended.wait()


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.ended = [], threading.Event()
        server.base = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join()


def source(server, kind, sum_=SUM[:8]):
    return Source(f"{server.base}/{kind}/net.pth", sum_, "CC0")


def files(folder):
    return sorted(path.name for path in folder.iterdir() if ".lock" not in path.name)


@pytest.mark.parametrize("kind", ["whole", "cut", "redirect"])
def test_a_file_arrives_whole(server, tmp_path, kind, capsys):
    target = tmp_path / "cache" / "net.pth"
    assert fetch(source(server, kind), target) == target
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["net.pth"]
    told = capsys.readouterr().err
    assert told.startswith(f"downloading {server.base}/{kind}/net.pth to {target}; lic")
    count = len(server.asked)
    fetch(source(server, kind), target)
    assert len(server.asked) == count  # once
    assert not capsys.readouterr().err


def test_each_connection_goes_on_where_the_last_broke_off(server, tmp_path):
    fetch(source(server, "cut"), tmp_path / "net.pth")
    assert server.asked == [("cut", 0), ("cut", 100_000), ("cut", 200_000)]


@pytest.mark.parametrize(
    ("kind", "start"), [("whole", 100_000), ("anew", 100_000), ("whole", 300_000)]
)
def test_a_download_that_was_killed_is_continued(server, tmp_path, kind, start):
    part = tmp_path / ".net.pth.part"
    part.write_bytes(CONTENT[:start])
    fetch(source(server, kind), tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert server.asked == ([(kind, start)] if start < len(CONTENT) else [])


@pytest.mark.parametrize("size", [1000, 400_000])
def test_the_part_of_another_file_is_thrown_away(server, tmp_path, size):
    (tmp_path / ".net.pth.part").write_bytes(b"x" * size)
    fetch(source(server, "whole"), tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("kind", "reason", "left"),
    [
        ("missing", "404 Not Found", []),
        ("broken", "500 Internal Server Error", []),
        ("half", "it ended after 150,000 of 300,000 bytes", [".net.pth.part"]),
        ("stuck", "timed out", [".net.pth.part"]),
    ],
)
def test_what_fails_is_one_line_and_no_file(server, tmp_path, kind, reason, left):
    target = tmp_path / "net.pth"
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fetch(source(server, kind), target, timeout_s=0.3)
    message = str(caught.value)
    assert message == (
        f"{server.base}/{kind}/net.pth: got no whole file ({reason}); run the same "
        f"command again to go on, or download it yourself and put it at {target}"
    )
    assert files(tmp_path) == left


def test_another_file_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(ValueError, match=r"got a file with SHA-256 \w{16}\.\.\., exp"):
        fetch(source(server, "other"), tmp_path / "net.pth")
    assert files(tmp_path) == []


def test_no_server_is_one_line_with_the_place_for_the_file(tmp_path):
    target = tmp_path / "net.pth"
    with pytest.raises(ValueError, match=f"refused.*put it at {target}$"):
        fetch(Source("http://127.0.0.1:1/net.pth"), target)


def test_a_redirect_from_https_to_http_is_refused():
    request = urllib.request.Request("https://a/net.pth")
    follow = download._NoDowngrade().redirect_request
    with pytest.raises(urllib.error.URLError, match="which is not https"):
        follow(request, None, 302, "Found", {}, "http://a/net.pth")
    assert follow(request, None, 302, "Found", {}, "https://b/net.pth")


_CHILD = """
import pathlib, sys
from logocap_jax.weights.download import Source, fetch
from tests.faults.injector import limit_files
url, target, limit = sys.argv[1:]
if int(limit):
    limit_files(int(limit))
try:
    fetch(Source(url), pathlib.Path(target))
except ValueError as error:
    print(error)
"""


def child(url, target, limit=0):
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, url, str(target), str(limit)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_full_disk_is_one_line_and_leaves_nothing(server, tmp_path):
    told, _ = child(
        f"{server.base}/whole/net.pth", tmp_path / "net.pth", 1000
    ).communicate()
    assert re.fullmatch(
        r".*net.pth: cannot be written \(.*\); free some space.*\n", told
    )
    assert files(tmp_path) == []


def test_of_two_processes_one_downloads(server, tmp_path):
    both = [child(f"{server.base}/whole/net.pth", tmp_path / "net.pth") for _ in "ab"]
    assert [process.communicate()[0] for process in both] == ["", ""]
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert server.asked == [("whole", 0)]


@pytest.fixture
def known(monkeypatch, tmp_path):
    """A table of two names, and an empty cache."""
    table = {
        "net_small": PublicWeights(
            *("tiny", "COCO", 128, "net.pth"), base="https://x/", sha256=SUM[:8]
        ),
        "net_brought": PublicWeights(
            *("tiny", "COCO", 128, "own.pth"), source="a shelf"
        ),
    }
    monkeypatch.setattr(named, "all_named", lambda: table)
    monkeypatch.setenv(download.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_name_is_downloaded_once_from_a_mirror(server, known, monkeypatch):
    monkeypatch.setenv(named.MIRROR, f"{server.base}/whole")
    assert find_weights("net_small") == known / "net.pth" == where("net_small")
    assert find_weights("net_small").read_bytes() == CONTENT
    assert server.asked == [("whole", 0)]


def test_a_file_that_somebody_put_there_is_checked(known):
    known.mkdir()
    (known / "net.pth").write_bytes(b"other")
    with pytest.raises(
        ValueError, match=r"net.pth: got a file with SHA-256 .*remove it"
    ):
        find_weights("net_small")
    (known / "net.pth").write_bytes(CONTENT)
    assert find_weights("net_small").read_bytes() == CONTENT


def test_an_address_is_downloaded_and_checked(server, known):
    url = f"{server.base}/whole/net.pth"
    assert find_weights(f"{url}#sha256={SUM[:12]}").read_bytes() == CONTENT
    # As a path, which has one slash.
    assert find_weights(pathlib.Path(f"{url}#sha256={SUM}")).read_bytes() == CONTENT
    with pytest.raises(ValueError, match="got an address that anybody on the way can"):
        find_weights(url)
    with pytest.raises(ValueError, match="got a file with SHA-256"):
        find_weights(f"{url}#sha256=0123")


def test_a_file_of_an_address_is_checked_each_time(server, known):
    address = f"{server.base}/whole/net.pth#sha256={SUM[:12].upper()}"
    path = find_weights(address)
    path.write_bytes(b"other")
    with pytest.raises(
        ValueError, match=r"net.pth: got a file with SHA-256 .*remove it"
    ):
        find_weights(address)


def test_what_has_no_address_is_brought(known):
    with pytest.raises(
        ValueError, match=f"bring own.pth from a shelf.*{known}/own.pth"
    ):
        find_weights("net_brought")
    known.mkdir()
    (known / "own.pth").touch()
    assert find_weights("net_brought") == known / "own.pth"


def test_a_file_comes_before_a_name(known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net_small").touch()
    assert find_weights("net_small") == pathlib.Path("net_small")
    assert find_named("net_small") is None


@pytest.mark.parametrize("text", ["net_smal", "runs/w32", ""])
def test_what_is_nowhere_names_what_there_is(known, text):
    with pytest.raises(
        ValueError, match=r"no such weights, expected .*such as.* net_small"
    ):
        find_weights(text)
