"""Where records and answers are kept."""
