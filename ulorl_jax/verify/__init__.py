"""Verifiers: (output text, reference text) -> Verdict of 1, 0 or error."""
