"""``python -m compiler``, and the program ``speecht5-ttnn`` of an installed package."""

import sys
from typing import NoReturn

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


def console() -> NoReturn:
    """Run what the package installs as ``speecht5-ttnn``, and end the process."""
    _run(PROGRAM)


def _run(*name: str) -> NoReturn:
    try:
        from compiler.process import Ending  # noqa: PLC0415, as above

        ending = Ending()
    except KeyboardInterrupt:
        sys.exit(130)
    # What ttnn still does to a card when its libraries are unloaded is not to be left out.
    ending.leave(main(*name), quick="ttnn" not in sys.modules)


if __name__ == "__main__":
    _run()
