"""The words of the evaluator as frozen values: facts, alerts, and the closed lists. Imports nothing of the service."""
