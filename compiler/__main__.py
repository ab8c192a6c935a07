"""``python -m compiler``, and the program ``speecht5-ttnn`` of an installed package."""

import sys

PROGRAM = "speecht5-ttnn"


def main(name: str = "python -m compiler") -> int:
    """Run the command line under the name by which it was called; its exit status."""
    try:
        from compiler import process  # noqa: PLC0415, Ctrl-C while this is imported is seen to here

        process.interruption.watch()
        process.prepare_streams()
        from compiler.cli import app, completing  # noqa: PLC0415

        # A shell completes the arguments of a program, and of nothing with a space in its name.
        run = completing(app) if name == PROGRAM else app
        return process.run(lambda: run(prog_name=name))
    except KeyboardInterrupt:  # before anybody watches, or where nothing is left to be put in order
        return 130


def console() -> int:
    """Run what the package installs as ``speecht5-ttnn``."""
    return main(PROGRAM)


if __name__ == "__main__":
    sys.exit(main())
