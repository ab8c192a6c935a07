"""Print compiled graphs as a script of plain TTNN, as an expert would write it.

The stages, each with a module: calls of ``compiler.dialects.ttnn.call`` become statements (``statements``), graphs of
several sizes one program (``sizes``), repeated layers loops (``loops``), calls that have much in common functions
(``functions``); ``names`` calls weights after modules, and ``source`` prints the whole.
"""
