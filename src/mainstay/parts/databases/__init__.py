"""Systems of record that are only read."""
