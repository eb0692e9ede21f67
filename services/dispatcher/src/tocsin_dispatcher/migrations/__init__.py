"""The schema's history, applied by `tocsin migrate`."""
