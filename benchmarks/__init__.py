"""Measuring, as a product: closed loops, latency and the servo."""
