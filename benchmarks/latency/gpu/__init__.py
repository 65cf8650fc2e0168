"""One command for a GPU host without a network: every way to run the model, in one JSON file."""
