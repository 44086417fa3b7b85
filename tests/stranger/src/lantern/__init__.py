"""Parts for Mainstay from outside."""
