"""Floor 4: doors translate in, translate out, and decide nothing."""
