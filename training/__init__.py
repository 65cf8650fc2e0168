"""From a simulated expert to a trained policy: episodes, datasets, flow-matching training."""
