"""Floor 0: the words. Frozen values and the seams between them; no I/O, no clock, no randomness."""
