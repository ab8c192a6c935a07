"""Transformations from graph to graph: what a pass is stands in ``base``, their order in ``compiler.pipeline``."""
