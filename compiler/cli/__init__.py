"""Define the command line: ``speak``, ``compile``, ``inspect``, ``report``, ``emit``, ``check``, ``verify`` and so on.

A command imports heavy libraries only when it runs, so that ``--help`` and wrong usage are answered at once.
"""

# --help lists commands in import order.
from compiler.cli import speak, graphs, parameters, report, emitting, opt, check, cost, bench  # noqa: F401, I001
from compiler.cli import verify, tune, bring_up, new_op  # noqa: F401
from compiler.cli.app import app, completing

__all__ = ["app", "completing"]
