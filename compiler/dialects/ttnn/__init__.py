"""TTNN ops: what each means, where it is legal, what it costs."""
