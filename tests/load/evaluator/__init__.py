"""What is measured of the evaluator (its design page, "Budgets"): `sweeping` over stored alerts, `ingesting` facts."""
