"""From ATen to TTNN: one rule per ATen op, one table entry per TTNN op that the rules emit."""
