"""Ctrl-C and SIGTERM: neither is lost, wherever it arrives.

Python raises KeyboardInterrupt wherever the program happens to be, and where that is a callback
from compiled code or a destructor, it is swallowed there. So the signal is noted as well, and long
work asks for it between its steps. Python would say of what is swallowed that it is ignored; it is
not, and nothing is said.
"""

import signal
import sys
import threading
from types import FrameType

_noted: list[int] = []


class Stopped(KeyboardInterrupt):
    """The program was asked to stop.

    Attributes:
        status: Exit status, as shells count it: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, number: int):
        super().__init__(f"Stopped by {signal.Signals(number).name}.")
        self.status = 128 + number


def listen() -> None:
    """Note Ctrl-C and SIGTERM from now on, and raise `Stopped`; only in the main thread."""
    _noted.clear()
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _note)
    sys.unraisablehook = _swallowed


def _note(number: int, _: FrameType | None) -> None:
    _noted.append(number)
    raise Stopped(number)


def _swallowed(what, say=sys.unraisablehook) -> None:
    """Say of every exception but `Stopped` that it is ignored."""
    if not isinstance(what.exc_value, Stopped):
        say(what)


def check() -> None:
    """Raise `Stopped` if a signal was noted, though it may have been swallowed."""
    if _noted:
        raise Stopped(_noted[0])


def status() -> int | None:
    """The exit status that a noted signal asks for, ``None`` without one."""
    return 128 + _noted[0] if _noted else None
