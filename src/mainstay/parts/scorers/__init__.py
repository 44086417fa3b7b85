"""Say what they think of an answer, one file each."""
