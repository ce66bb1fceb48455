"""The only room that touches disk or network."""
