"""The trial of a cluster: what it judges, and a short one where Ray is installed."""

import importlib.util

import pytest

from scripts.bench.clients.returning import Visit
from scripts.cluster_trial import MOST_S, Trial, run, table

HAS_RAY = importlib.util.find_spec("ray") is not None


def test_the_longest_gap_is_told_with_the_one_that_lasts():
    visit = Visit(pictures=[1.0, 1.1, 4.0])
    assert visit.longest_gap(until=5.0) == pytest.approx(2.9)
    assert visit.longest_gap(until=9.0) == 5.0
    assert Visit().longest_gap(until=9.0) == float("inf")


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (Trial(gaps=[MOST_S + 1.0]), "no picture for"),
        (Trial(visits=[Visit(sessions=["one", "two"])]), "1 sessions were lost"),
        (Trial(served_twice=["one"]), "served by two workers"),
    ],
)
def test_each_fault_is_told(trial, words):
    (fault,) = trial.faults()
    assert words in fault


def test_a_client_that_was_well_served_is_no_fault():
    trial = Trial(visits=[Visit(pictures=[0.0], sessions=["one"], refusals={503: 2})], gaps=[0.1])
    assert trial.faults() == [] and "2 x 503" in table(trial)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install 'depthlive[ray]'")
async def test_law_whatever_part_of_a_cluster_is_killed_streams_go_on():
    """A worker, the gateway and placement by force, another worker by order; an engine that sleeps."""
    trial = await run(minutes=1.0, clients=3, workers=3, engine="sleeping")
    assert trial.gaps and not trial.served_twice
    assert max(trial.gaps) < MOST_S, table(trial)
    assert all(visit.pictures for visit in trial.visits)
