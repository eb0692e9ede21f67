"""One file per command; each has `register`, which adds it to the app."""
