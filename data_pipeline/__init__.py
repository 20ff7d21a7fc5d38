"""From COCO-style files to batches: NumPy, OpenCV, grain and TFDS; never JAX."""
