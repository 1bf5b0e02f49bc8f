"""Limits of the benchmark's clients, for tests: they cost time only where something never comes."""

import pytest

from scripts.bench.clients import control

PATIENCE_S = 120.0  # no busy machine misses it


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("APPLIED_LIMIT_S", "STATS_LIMIT_S", "SWITCH_LIMIT_S"):
        monkeypatch.setattr(control, limit, PATIENCE_S)
