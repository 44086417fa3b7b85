"""How documents become passages."""
