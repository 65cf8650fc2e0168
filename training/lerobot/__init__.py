"""LeRobot datasets, versions 3.0 and 2.1: written from the expert's episodes, read for training."""
