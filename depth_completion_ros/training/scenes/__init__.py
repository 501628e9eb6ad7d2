"""Procedural RGB-D scenes: rooms, tabletops, corridors, halls and streets, ray cast in batches on CPU or GPU."""

from .pool import render_pool
from .render import KINDS, render_scenes

__all__ = ["KINDS", "render_pool", "render_scenes"]
