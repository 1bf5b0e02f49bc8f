"""Simulated fleet: its figures are those of what happened, and the placement in it keeps its laws."""

import json
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

import scripts.fleet.simulation as simulation
from scripts.fleet.simulation import Fleet, Plan, Seen
from scripts.simulate_fleet import figures, main, places_of, spread_of, table
from server.placement.table import PlacementTable

PLAN = Plan(gpus=16, places=2, sessions=160, mean_minutes=4.0, load=1.2, failures_per_gpu_day=200.0)


@pytest.mark.parametrize(
    ("preset", "min_fps", "places"),
    [("fast", 16.0, 2), ("exact", 16.0, 1), ("fast", 4.0, 10), ("exact", 30.0, 1)],
)
def test_a_gpu_has_as_many_places_as_the_servers_rule_gives_it(preset, min_fps, places):
    assert places_of(preset, min_fps) == places


@pytest.mark.parametrize("policy", ["spread", "pack"])
def test_law_whatever_fails_and_drains_no_place_is_given_twice(policy):
    seen = Fleet(replace(PLAN, policy=policy)).run()
    assert (seen.overbooked, seen.doubled) == (0, 0)
    assert seen.failures > 5 and seen.drains > 1 and seen.void_leases > 0, "it was put to the test"
    assert all(seen.interruptions.values())
    assert max(wait for wait in seen.waits) > 0 and seen.gave_up > 0
    assert 0.5 < seen.session_s / seen.place_s <= 1


def test_law_the_same_seed_is_the_same_day():
    first, second = Fleet(PLAN).run(), Fleet(PLAN).run()
    assert (first.waits, first.samples) == (second.waits, second.samples)
    assert first.waits != Fleet(replace(PLAN, seed=1)).run().waits


def test_a_fleet_that_is_never_full_lets_nobody_wait():
    seen = Fleet(replace(PLAN, load=0.1, failures_per_gpu_day=0, drains_per_hour=0)).run()
    assert set(seen.waits) == {0.0} and seen.interruptions == {"failed": [], "drained": []}
    assert (seen.served + seen.vanished, seen.refused) == (PLAN.sessions, 0)


def test_a_placement_that_gives_too_much_is_seen(monkeypatch):
    """The counters of what never happens do count."""
    monkeypatch.setattr(simulation, "PlacementTable", Careless)
    assert Fleet(PLAN).run().overbooked > 0


class Careless(PlacementTable):
    def report(self, report, now):
        return super().report(replace(report, places=report.places + 1), now)


def test_most_clients_come_in_the_middle_of_the_day():
    plan = replace(PLAN, sessions=2000)
    arrivals = Fleet(plan)._arrivals()
    inner = sum(0.25 < at / plan.seconds < 0.75 for at in arrivals)
    assert len(arrivals) == 2000 and inner > 1.5 * (2000 - inner)


def test_percentiles_of_nothing_are_none():
    assert spread_of([]) == {}
    assert spread_of([3.0, 1.0, 2.0]) == {"p50": 2.0, "p95": 3.0, "p99": 3.0, "max": 3.0}


def test_the_command_prints_a_table_and_writes_all_of_it(tmp_path):
    file, picture = tmp_path / "fleet.json", tmp_path / "fleet.png"
    app = ["--gpus", "4", "--sessions", "20", "--json", str(file), "--plot", str(picture)]
    command = typer.Typer()
    command.command()(main)
    result = CliRunner().invoke(command, app)
    assert result.exit_code == 0, result.output
    assert "| fleet | 4 GPUs, 8 places, spread |" in result.output
    record = json.loads(file.read_text())
    assert record["figures"]["served"] + record["figures"]["vanished"] <= 20
    assert record["samples"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_day_on_which_nothing_happened_is_told_too():
    seen = Seen(samples=[(0.0, 0, 2, 0)], place_s=1.0)
    text = table(PLAN, figures(PLAN, seen, 0.0))
    assert (
        "| gaps by failure p50 / p95 / max | 0: none |" in text and "| wait p50 / p95 / p99 | none |" in text
    )
