"""Floor 2: from records to the next release. Runs models only through `serve`."""
