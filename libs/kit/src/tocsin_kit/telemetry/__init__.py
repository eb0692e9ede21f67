"""Seeing what happens: traces (`setup`, `propagation`, `spans`, `names`), `metrics`, and logs (`logs`, `redact`)."""
