"""One representation per file: people -> dense targets, dense maps -> points."""
