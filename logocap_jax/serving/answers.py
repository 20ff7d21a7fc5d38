"""What the page answers to what is done on it."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from logocap_jax.predictor.poses import Poses
from logocap_jax.serving.finding import (
    Finder,
    Finding,
    draw,
    draw_person,
    image_point,
    person_at,
)

NOBODY = "*Click a person in the picture.*"


def look(
    finder: Finder, folder: Path, upload: dict[str, Any] | None, picture: str
) -> tuple[Any, ...]:
    """Find the people in an upload.

    Args:
      finder: finds them.
      folder: for the file to download.
      upload: its `path` here, and `orig_name`, the name of its file.
      picture: which one to draw, of `finding.PICTURES`.

    Returns:
      What was found, the picture, a summary, the file, whether there are maps.
    """
    hidden = gr.update(visible=False)
    if upload is None:
        return None, None, "", hidden, hidden
    try:
        found = finder(Path(upload["path"]))
    except ValueError as error:
        return None, None, f"**Not read:** {error}", hidden, hidden
    start = time.perf_counter()
    drawn = draw(found, picture)
    summary = _summary(found, time.perf_counter() - start)
    name = Path(upload.get("orig_name") or "photograph").name
    file = _write_json(folder, found.explained.poses, name)
    clickable = finder.has_kam and len(found.explained.poses) > 0
    return (
        *(found, drawn, summary),
        *(gr.update(value=file, visible=True), gr.update(visible=clickable)),
    )


def redraw(found: Finding | None, picture: str) -> Any:
    """The picture that was asked for, if there is a photograph."""
    return None if found is None else draw(found, picture)


def choose(
    found: Finding | None, picture: str, event: gr.SelectData
) -> tuple[str, Any]:
    """Whom a click meant, and the attraction maps of that person."""
    if found is None or found.explained.kam is None:
        return forget_person()
    shown = np.array(event.index, np.float64)
    point = image_point(found, shown, draw(found, picture).shape[1])
    person = person_at(found.explained.poses, point)
    if person is None:
        return forget_person()
    score = found.explained.poses.scores[person]
    return f"**Person with score {score:.2f}**", draw_person(found, person)


def forget_person() -> tuple[str, Any]:
    """Nobody is chosen."""
    return NOBODY, None


def _summary(found: Finding, draw_seconds: float) -> str:
    count = len(found.explained.poses)
    model = "model, with compiling" if found.compiled else "model"
    height, width = found.pixels.shape[:2]
    return (
        f"{count} {'person' if count == 1 else 'people'} in {width} x {height} px  \n"
        f"decode {found.decode_seconds:.3f} s, {model} {found.model_seconds:.3f} s, "
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
