"""What is measured; each script says how it is run."""
