"""What watches sealed records."""
