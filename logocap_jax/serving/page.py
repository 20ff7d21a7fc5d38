"""The page: a photograph goes in, people and what explains them come out."""

import functools
from pathlib import Path

import gradio as gr

from logocap_jax.serving import answers
from logocap_jax.serving.finding import Finder
from logocap_jax.serving.limits import MAX_UPLOAD_BYTES, STATED

_TITLE = "LOGO-CAP: people and their poses"
_HELP = (
    "Drop a photograph ({stated}){click}. Left limbs are orange, right limbs blue. "
    "Nothing leaves this computer."
)
_CLICK = "; click a person to see its attraction maps"
_NO_MAPS = (
    "These weights find initial poses only (`center_offset`): nothing refines them, "
    "and there are no attraction maps to look at."
)
_MAPS = (
    "Around each rough keypoint (ring) the local attraction map, brighter where the "
    "true keypoint is expected; the dot is the refined keypoint."
)
_CSS = ".logocap-help {opacity: 0.75}"

# A session's photograph is forgotten after this time, s.
_MEMORY = 3600
_SESSIONS = 20


def build_page(finder: Finder, folder: Path) -> gr.Blocks:
    """Build the page; it asks no other host for anything.

    Args:
      finder: finds the people.
      folder: for the files to download.
    """
    with gr.Blocks(
        title=_TITLE, analytics_enabled=False, delete_cache=(600, _MEMORY)
    ) as page:
        finding = gr.State(None, time_to_live=_MEMORY)
        gr.Markdown(f"# {_TITLE}")
        click = _CLICK if finder.has_kam else ""
        gr.Markdown(
            _HELP.format(stated=STATED, click=click), elem_classes="logocap-help"
        )
        if not finder.has_kam:
            gr.Markdown(_NO_MAPS, elem_classes="logocap-help")
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
                list(finder.pictures),
                value=finder.pictures[0],
                label="Draw",
                min_width=300,
            )
            with gr.Column(min_width=300):
                summary = gr.Markdown(elem_id="summary")
                download = gr.DownloadButton(
                    "Download JSON (COCO results)", visible=False, elem_id="download"
                )
        with gr.Column(visible=False) as maps:
            whose = gr.Markdown(answers.NOBODY, elem_id="whose")
            attraction = gr.Image(
                show_label=False, interactive=False, buttons=[], elem_id="attraction"
            )
            gr.Markdown(_MAPS, elem_classes="logocap-help")

        # Not preprocessed: Pillow would decode whatever it is, before any limit.
        photo.change(
            functools.partial(answers.look, finder, folder),
            inputs=[photo, view],
            outputs=[finding, overlay, summary, download, maps],
            preprocess=False,
        ).then(answers.forget_person, None, [whose, attraction])
        view.change(answers.redraw, [finding, view], overlay)
        overlay.select(answers.choose, [finding, view], [whose, attraction])
    return page


def launch(page: gr.Blocks, *, host: str, port: int) -> None:
    """Serve the page until Ctrl-C.

    Args:
      page: from `build_page`.
      host: which of this machine's addresses to listen at.
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
