"""``python -m mflows.cli``: the command line without the installed program."""

from mflows.cli import main

main()
