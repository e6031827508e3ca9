"""Derivatives of layers in the form in which they are cheap: tangents, conormals, bare values.

``rules`` says what is asked of a layer and what serves any layer; each other file has the rules of
a few kinds of layer that do better.
"""

from mflows.tangents import coupling, stacks  # noqa: F401 (their rules are registered)
from mflows.tangents.rules import (
    condition_for,
    inverted,
    push_columns,
    push_conormals,
    pushforward,
    transformed,
)

__all__ = [
    "condition_for",
    "inverted",
    "push_columns",
    "push_conormals",
    "pushforward",
    "transformed",
]
