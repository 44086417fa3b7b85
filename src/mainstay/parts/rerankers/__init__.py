"""What ranks passages again."""
