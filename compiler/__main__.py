"""``python -m compiler``."""

import sys

if __name__ == "__main__":
    try:
        from compiler import process

        process.interruption.watch()
        process.prepare_streams()
        from compiler.cli import app

        sys.exit(process.run(lambda: app(prog_name="python -m compiler")))
    except KeyboardInterrupt:  # before anybody watches, or where nothing is left to be put in order
        sys.exit(130)
