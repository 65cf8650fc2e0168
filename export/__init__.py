"""From a checkpoint to a verified bundle: torch model, typed ONNX, engines, gate."""
