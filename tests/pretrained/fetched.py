"""Real weights, for tests that need them."""

import pytest

from mflows.fetching import NotFetched


def fetched(build):
    """What ``build`` makes of weights; skips the test where they cannot be had."""
    try:
        return build()
    except NotFetched as error:
        pytest.skip(f"Needs pretrained weights: {error}")
