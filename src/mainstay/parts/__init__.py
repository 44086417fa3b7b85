"""Floor 1: one file, one seam. Parts import `core` and `wire` only, and never each other."""
