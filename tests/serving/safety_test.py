"""The page decodes no upload with Pillow, and starts no server of its own."""

import sys
from unittest import mock

import pytest

from logocap_jax.methods.base import PatchLayer

MODULE = "logocap_jax.serving.page"


@pytest.fixture
def gradio(monkeypatch):
    """Records all calls; gradio itself need not be installed."""
    recorder = mock.MagicMock()
    # Types in annotations.
    recorder.SelectData, recorder.Blocks = mock.Mock, mock.MagicMock
    monkeypatch.setitem(sys.modules, "gradio", recorder)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield recorder
    sys.modules.pop(MODULE, None)


def test_an_upload_reaches_the_page_as_a_file(gradio, tmp_path):
    from logocap_jax.serving.page import build_page
    from logocap_jax.serving.session import TimedPredictor

    pictures = {"poses": ("refined",)}
    predictor = mock.Mock(
        TimedPredictor, pictures=pictures, patches={"around": PatchLayer}
    )
    photo, *others = (mock.MagicMock() for _ in range(3))
    gradio.Image.side_effect = [photo, *others]
    build_page(predictor, tmp_path)
    (_, kwargs), *outputs = gradio.Image.call_args_list
    assert kwargs["type"] == "filepath"
    assert kwargs["image_mode"] is None
    photo.change.assert_called_once()
    # With preprocessing, gradio opens the upload with Pillow before any limit.
    assert photo.change.call_args.kwargs["preprocess"] is False
    assert all(call.kwargs["interactive"] is False for call in outputs)


def test_one_process_serves_the_page_and_nothing_else(gradio):
    from logocap_jax.serving.page import launch

    page = mock.MagicMock()
    launched = page.queue.return_value.launch
    launched.return_value = (None, "http://127.0.0.1:1", None)
    launch(page, host="127.0.0.1", port=0)
    options = launched.call_args.kwargs
    off = ("share", "ssr_mode", "mcp_server", "enable_monitoring", "inbrowser")
    assert {name: options[name] for name in off} == dict.fromkeys(off, False)
