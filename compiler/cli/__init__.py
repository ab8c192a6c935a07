"""The command line: ``speak``, ``compile``, ``inspect``, ``opt``, ``check``, ``cost``, ``bench`` and ``ops``.

Nothing heavy is imported before a command runs, so that ``--help`` and wrong usage answer at once.
"""

from compiler.cli import speak, graphs, opt, plans  # noqa: F401, I001, commands are listed in the order of their entry
from compiler.cli.app import app

__all__ = ["app"]
