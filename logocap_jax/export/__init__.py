"""Models as StableHLO and ONNX."""
