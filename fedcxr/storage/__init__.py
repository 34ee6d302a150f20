"""What stays on disk: files that are whole or absent, weights without pickle, and what happens in a run."""
