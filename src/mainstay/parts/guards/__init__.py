"""What checks inputs and drafts."""
