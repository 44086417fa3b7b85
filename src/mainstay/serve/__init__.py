"""Floor 1: one call, top to bottom. Read `pipeline.py` first. Knows seams, never a concrete part."""
