"""Latency of inference: per part and end to end, against peers in alternation."""
