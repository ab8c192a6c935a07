"""``python -m compiler``."""

import sys

if __name__ == "__main__":
    try:
        from compiler.cli import app

        app(prog_name="python -m compiler")
    except KeyboardInterrupt:  # before a command runs, which sees to its own interruption
        sys.exit(130)
