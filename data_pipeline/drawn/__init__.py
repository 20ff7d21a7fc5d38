"""Drawn people: a COCO-format data set that needs no download."""

from data_pipeline.drawn.dataset import write_drawn_dataset
from data_pipeline.drawn.scene import draw_scene

__all__ = ["draw_scene", "write_drawn_dataset"]
