"""Evaluation of completed depth: metrics, protocols and reports."""
