"""What an op is, in each dialect."""

from compiler.dialects import aten
from compiler.dialects.ttnn import op
from compiler.dialects.ttnn.program import Program
from compiler.ir.parse import Dialects

DIALECTS = Dialects(
    {"aten": aten.entered, "ttnn": op.entered},
    lambda spelling: aten.entered(f"aten.{spelling}"),
    {"ttnn": Program},
)
"""All ops that the text of a graph may name."""

__all__ = ["DIALECTS"]
