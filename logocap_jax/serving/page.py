"""The page: a photograph goes in, people and the maps behind them come out."""

from pathlib import Path
from typing import Any

import gradio as gr

from logocap_jax.methods.base import PatchLayer, PointLayer
from logocap_jax.serving.callbacks import NOBODY, Callbacks
from logocap_jax.serving.session import MAX_UPLOAD_BYTES, STATED, TimedPredictor

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

    Args:
      predictor: finds the people.
      folder: for the files to download.
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
    """Serve the page until Ctrl-C.

    Args:
      page: from `build_page`.
      host: address of this machine to listen at.
      port: 0: any free one.

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
