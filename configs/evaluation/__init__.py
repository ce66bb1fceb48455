"""Evaluations of a set of weights, for launch/evaluate.py; `base` has every key."""
