"""Checkpoints in the layouts that papers published."""
