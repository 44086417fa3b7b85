"""Where knowledge is read from."""
