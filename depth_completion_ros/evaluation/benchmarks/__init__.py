"""Benchmarks: speed of engines and of the node, and endurance of the node."""
