"""Files that a team reviews, read into the values of `core` with exact errors. Knows nothing of how they are served."""
