"""Data sets made or cleaned before a run; what they write is read through `io.prompts`."""
