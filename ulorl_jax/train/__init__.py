"""The update: optimizer, state and the pure train step."""
