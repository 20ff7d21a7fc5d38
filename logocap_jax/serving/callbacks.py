"""The page's callbacks."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from logocap_jax.predictor.poses import Poses
from logocap_jax.serving.session import (
    SessionState,
    TimedPredictor,
    draw,
    draw_person,
    image_point,
    person_at,
)

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
