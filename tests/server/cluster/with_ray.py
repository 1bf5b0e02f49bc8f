"""For tests that start Ray: marks that skip them where it is not installed, and say so."""

import importlib.util
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., Any])

NEEDS_RAY = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="Ray is not installed: pip install 'depthlive[ray]'",
    ),
]


def needs_ray(test: Test) -> Test:
    """One test of a module."""
    for mark in NEEDS_RAY:
        test = mark(test)
    return test
