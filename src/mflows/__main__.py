"""The program ``mflows``: it hears Ctrl-C before it imports the rest."""

import sys

from mflows import signals


def main() -> None:
    """Run the command line and exit with its status."""
    signals.listen()
    try:
        from mflows.cli import main as run

        run()
    except signals.Stopped as stopped:  # before a command could say more
        print("Error: Stopped.", file=sys.stderr)
        sys.exit(stopped.status)


if __name__ == "__main__":
    main()
