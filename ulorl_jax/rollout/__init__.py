"""Decoding: the engine and its cache, sampling, segments, and the pools between steps."""
