"""Transformations from graph to graph: what they are is in ``base``, the order they run in is in ``compiler.pipeline``."""
