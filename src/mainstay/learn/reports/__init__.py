"""Reports for people and machines: one file, one format."""
