"""Runs the evaluator from the environment."""

from tocsin_evaluator.app import evaluator
from tocsin_evaluator.settings import EvaluatorSettings
from tocsin_kit.lifecycle import main

if __name__ == "__main__":
    main(evaluator, EvaluatorSettings, "evaluator")
