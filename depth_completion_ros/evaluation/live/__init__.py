"""Evaluation in a running graph: the evaluator node scores what a completion node publishes."""
