"""Scoring of poses against COCO annotations."""
