"""Configs: base.py declares every key; each other file changes some."""
