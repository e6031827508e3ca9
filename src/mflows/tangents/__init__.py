"""Derivatives of layers in the form in which they are cheap: tangents, conormals, bare values."""

from mflows.tangents.conormals import push_conormals
from mflows.tangents.pushforward import condition_for, pushforward
from mflows.tangents.values import inverted, transformed

__all__ = ["condition_for", "inverted", "push_conormals", "pushforward", "transformed"]
