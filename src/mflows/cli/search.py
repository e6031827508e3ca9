"""How ``--search`` is read: ``NAME=a..b``, ``NAME=a..b:log`` or ``NAME=a|b|c``."""

from collections.abc import Sequence

from mflows.cli.options import literal


def searched(given: Sequence[str]) -> dict:
    """Names with the ranges and choices they are searched in."""
    from mflows.sweeps import Choice

    found: dict = {}
    for text in given:
        name, equals, space = (piece.strip() for piece in text.partition("="))
        name = name.replace("-", "_") if "." not in name else name  # learning-rate, as in options
        if not (name and equals and space):
            raise ValueError(f"Expected --search as NAME=a..b or NAME=a|b|c; got {text!r}.")
        if name in found:
            raise ValueError(f"Expected every name in --search once; got {name!r} twice.")
        if "|" in space:
            found[name] = Choice(tuple(literal(value.strip()) for value in space.split("|")))
        else:
            found[name] = _range(text, space)
    return found


def _range(text: str, space: str):
    from mflows.sweeps import Range

    ends, colon, scale = space.partition(":")
    low, dots, high = (literal(end.strip()) for end in ends.partition(".."))
    numbers = type(low) in (int, float) and type(high) in (int, float)
    if not (dots and numbers) or (colon and scale.strip() != "log"):
        raise ValueError(
            f"Expected --search as NAME=a..b, NAME=a..b:log or NAME=a|b|c; got {text!r}."
        )
    return Range(low, high, log=bool(colon))
