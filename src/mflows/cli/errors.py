"""Errors and warnings as a user of the command line meets them: one line, no traceback.

Input that cannot be used exits with status 2, training that diverged with 1. An error that is not
ours is a defect of the program and keeps its traceback.
"""

import sys
import warnings
from types import TracebackType
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from mflows import signals

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]


class OneLineErrors(TyperGroup):
    """A group of commands that says what went wrong in one line."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command and exit with its status."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        signals.listen()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                status = super().main(*args, standalone_mode=False, **extra)
        except USAGE_ERROR as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                sys.exit(0)  # the help is on the screen
            context = getattr(error, "ctx", None)
            message = error.format_message()  # type: ignore[attr-defined]
            path = context.command_path if context is not None else "mflows"
            fail(f"{_sentence(message)} See {path} --help.", 2)
        except (KeyboardInterrupt, typer.Abort) as error:
            fail("Stopped.", getattr(error, "status", 130))
        except Exception as error:
            if stopped := signals.status():  # and turned into another error on its way here
                fail("Stopped.", stopped)
            status = status_of(error)
            if status is None:
                raise
            fail(str(error) or f"There is not enough memory ({type(error).__name__}).", status)
        sys.exit(status if isinstance(status, int) else 0)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"Warning: {' '.join(str(message).split())}", err=True)


def fail(message: str, status: int) -> NoReturn:
    """Print ``message`` as one line on standard error and exit."""
    typer.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(status)


def status_of(error: Exception) -> int | None:
    """Exit status for an error, ``None`` for one that the user did not cause."""
    ours = _raised_by(error.__traceback__).split(".")[0] == "mflows"
    if isinstance(error, ValueError) and ours:
        return 2
    if isinstance(error, OSError | MemoryError | OverflowError):  # a full disk, too large a number
        return 2
    if isinstance(error, ModuleNotFoundError) and "pip install" in str(error):  # an extra of ours
        return 2
    if "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error):  # JAX's MemoryError
        return 2
    # Not imported: a command that has not imported training cannot have diverged.
    return 1 if type(error).__name__ == "TrainingDiverged" else None


def _raised_by(traceback: TracebackType | None) -> str:
    """Name of the module that raised."""
    name = ""
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__", "")
        traceback = traceback.tb_next
    return name


def _sentence(message: str) -> str:
    return message if message.endswith((".", "?", "!")) else f"{message}."
