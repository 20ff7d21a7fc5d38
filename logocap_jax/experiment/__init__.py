"""From a config to a run: the wiring behind `train.py` and `eval.py`."""
