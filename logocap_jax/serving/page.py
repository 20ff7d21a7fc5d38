"""The page: a photograph goes in, people and the maps behind them come out."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from logocap_jax.methods.base import PatchLayer, PointLayer
from logocap_jax.predictor.poses import Poses
from logocap_jax.serving.session import (
    MAX_UPLOAD_BYTES,
    STATED,
    SessionState,
    TimedPredictor,
    draw,
    draw_person,
    image_point,
    person_at,
)

_TITLE = "People and their poses"
_HELP = (
    "Drop a photograph ({stated}){click}. Left limbs are orange, right limbs blue. "
    "Nothing leaves this computer."
)
_CLICK = "; click a person to see the small maps around its keypoints"
_NO_PATCHES = (
    "These weights keep no small maps around keypoints: there is nothing to click."
)
_PATCHES = {
    PatchLayer: "{layer}: around each rough keypoint (ring) a map, brighter where the "
    "true one is expected; the dot is the refined keypoint.",
    PointLayer: "{layer}: white dots are the places that a keypoint was computed from, "
    "around the middle of the person (ring); the colored dot is the keypoint.",
}
_CSS = ".logocap-help {opacity: 0.75}"

# A session's photograph is forgotten after this time, s.
_MEMORY = 3600
_SESSIONS = 20


def build_page(predictor: TimedPredictor, folder: Path) -> gr.Blocks:
    """Build the page; it asks no other host for anything.

    The predictor finds the people; the files to download go into the folder.
    """
    callbacks = Callbacks(predictor, folder)
    with gr.Blocks(
        title=_TITLE, analytics_enabled=False, delete_cache=(600, _MEMORY)
    ) as page:
        state = gr.State(None, time_to_live=_MEMORY)
        gr.Markdown(f"# {_TITLE}")
        click = _CLICK if predictor.patches else ""
        gr.Markdown(
            _HELP.format(stated=STATED, click=click), elem_classes="logocap-help"
        )
        if not predictor.patches:
            gr.Markdown(_NO_PATCHES, elem_classes="logocap-help")
        with gr.Row():
            photo = gr.Image(
                label="Photograph",
                sources=["upload", "clipboard"],
                image_mode=None,
                type="filepath",
                elem_id="photo",
                min_width=300,
            )
            overlay = gr.Image(
                label="People",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="overlay",
                min_width=300,
            )
        with gr.Row():
            view = gr.Radio(
                list(predictor.pictures),
                value=next(iter(predictor.pictures)),
                label="Draw",
                min_width=300,
            )
            with gr.Column(min_width=300):
                summary = gr.Markdown(elem_id="summary")
                download = gr.DownloadButton(
                    "Download JSON (COCO results)", visible=False, elem_id="download"
                )
        with gr.Column(visible=False) as patches:
            chosen = [gr.Markdown(NOBODY, elem_id="whose")]
            for layer, kind in predictor.patches.items():
                chosen.append(_patch_image(layer))
                help_text = _PATCHES[kind].format(layer=layer)
                gr.Markdown(help_text, elem_classes="logocap-help")

        # Not preprocessed: Pillow would decode any file, before any limit.
        photo.change(
            callbacks.look,
            inputs=[photo, view],
            outputs=[state, overlay, summary, download, patches],
            preprocess=False,
        ).then(callbacks.forget_person, None, chosen)
        view.change(callbacks.redraw, [state, view], overlay)
        overlay.select(callbacks.choose, [state, view], chosen)
    return page


def _patch_image(layer: str) -> Any:
    return gr.Image(
        show_label=False, interactive=False, buttons=[], elem_id=f"patches-{layer}"
    )


def launch(page: gr.Blocks, *, host: str, port: int) -> None:
    """Serve a page of `build_page` until Ctrl-C.

    `host` is the address of this machine to listen at; the port 0 is any free one.

    Raises:
      OSError: if the port is taken.
    """
    system = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
    fonts, monospaced = ([gr.themes.Font(name) for name in kind] for kind in system)
    _, address, _ = page.queue(max_size=8).launch(
        server_name=host,
        server_port=port or None,
        share=False,
        inbrowser=False,
        quiet=True,
        show_error=True,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
        max_file_size=MAX_UPLOAD_BYTES,
        state_session_capacity=_SESSIONS,
        theme=gr.themes.Default(font=fonts, font_mono=monospaced),
        css=_CSS,
        prevent_thread_lock=True,
    )
    print(f"{address} (Ctrl-C ends it)", flush=True)
    page.block_thread()


NOBODY = "*Click a person in the picture.*"


class Callbacks:
    """The page's callbacks; gradio reads the annotations of their arguments."""

    def __init__(self, predictor: TimedPredictor, folder: Path) -> None:
        """Keep the predictor, and a folder for the files to download."""
        self._predictor, self._folder = predictor, folder

    def look(self, upload: dict[str, Any] | None, picture: str) -> tuple[Any, ...]:
        """Find the people in an upload.

        Args:
          upload: its `path` here, and `orig_name`, the name of its file.
          picture: the one to draw, of the predictor's `pictures`.

        Returns:
          State, picture, summary, file, visibility of the patches.
        """
        hidden = gr.update(visible=False)
        if upload is None:
            return None, None, "", hidden, hidden
        try:
            state = self._predictor(Path(upload["path"]))
        except ValueError as error:
            return None, None, f"**Not read:** {error}", hidden, hidden
        start = time.perf_counter()
        drawn = self.redraw(state, picture)
        summary = _summary(state, time.perf_counter() - start)
        poses = state.explained.poses
        name = Path(upload.get("orig_name") or "photograph").name
        file = _write_json(self._folder, poses, name)
        clickable = bool(self._predictor.patches) and len(poses) > 0
        download = gr.update(value=file, visible=True)
        return state, drawn, summary, download, gr.update(visible=clickable)

    def redraw(self, state: SessionState | None, picture: str) -> np.ndarray | None:
        """Draw the selected picture, if there is a photograph."""
        if state is None:
            return None
        return draw(state, self._predictor.pictures[picture])

    def choose(
        self, state: SessionState | None, picture: str, event: gr.SelectData
    ) -> tuple[Any, ...]:
        """Select the person nearest to a click: a title, and the patches by layer."""
        if state is None:
            return self.forget_person()
        shown = np.array(event.index, np.float64)
        width = draw(state, self._predictor.pictures[picture]).shape[1]
        person = person_at(state.explained.poses, image_point(state, shown, width))
        if person is None:
            return self.forget_person()
        score = state.explained.poses.scores[person]
        drawn = (draw_person(state, name, person) for name in self._predictor.patches)
        return f"**Person with score {score:.2f}**", *drawn

    def forget_person(self) -> tuple[Any, ...]:
        """Clear the selection."""
        return NOBODY, *[None] * len(self._predictor.patches)


def _summary(state: SessionState, draw_seconds: float) -> str:
    count = len(state.explained.poses)
    model = "model, with compiling" if state.compiled else "model"
    height, width = state.pixels.shape[:2]
    return (
        f"{count} {'person' if count == 1 else 'people'} in {width} x {height} px  \n"
        f"decode {state.decode_seconds:.3f} s, {model} {state.model_seconds:.3f} s, "
        f"draw {draw_seconds:.3f} s"
    )


def _write_json(folder: Path, poses: Poses, name: str) -> str:
    """COCO keypoint results of one image; its id is the number in its name, or 1."""
    stem = Path(name).stem
    image_id = int(stem) if stem.isdecimal() else 1
    results = [{**result, "file_name": name} for result in poses.to_coco(image_id)]
    path = Path(tempfile.mkdtemp(dir=folder)) / f"{stem}.json"
    path.write_text(json.dumps(results, allow_nan=False) + "\n", encoding="utf-8")
    return str(path)
