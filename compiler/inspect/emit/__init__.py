"""Print compiled graphs as a script of plain TTNN, as an expert would write it.

The stages, each with a module: calls of ``compiler.dialects.ttnn.call`` become statements (``statements``), graphs of
several sizes or with more inputs one program (``sizes``, ``variants``), blocks here and there methods (``routines``),
repeated layers loops (``loops``), calls that have much in common functions (``functions``); ``names`` calls weights
after modules, ``hints`` tensors after what they are, and ``source`` prints the whole.
"""
