"""Preflight: what has to be true of a set-up before its arm may move, checked over evidence."""
