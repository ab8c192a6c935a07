"""What an op is, in each dialect."""

from compiler.dialects import aten
from compiler.dialects.ttnn import op
from compiler.ir.parse import Dialects

DIALECTS = Dialects({"aten": aten.entered, "ttnn": op.entered}, lambda spelling: aten.entered(f"aten.{spelling}"))
"""All ops that the text of a graph may name."""

__all__ = ["DIALECTS"]
