"""HigherHRNet with associative embedding: keypoints of like tags form a person."""
