"""Whose place goes next: most free or fewest, kept sessions spared, who has waited longest first."""

import pytest

from server.placement.free_places import FreePlaces

BOTH = pytest.mark.parametrize("policy", ["spread", "pack"])


def index(policy, *workers) -> FreePlaces:
    """Of (name, free, kept), each of the model m."""
    free = FreePlaces(policy)
    for name, places, kept in workers:
        free.put(name, "m", places, kept)
    return free


def order(free: FreePlaces, models=("m",)) -> list[str]:
    """Each best one taken out."""
    found = []
    while (name := free.best(models)) is not None:
        free.take_out(name)
        found.append(name)
    return found


def test_law_spread_gives_of_whom_most_are_free_and_pack_of_whom_fewest_are():
    workers = (("two", 2, 0), ("three", 3, 0), ("one", 1, 0))
    assert order(index("spread", *workers)) == ["three", "two", "one"]
    assert order(index("pack", *workers)) == ["one", "two", "three"]


@BOTH
def test_law_a_kept_session_gives_way_where_no_other_place_is_left(policy):
    workers = (("all kept", 2, 2), ("some", 2, 1), ("open", 1, 0))
    assert order(index(policy, *workers))[-1] == "all kept"


def test_of_those_whose_kept_sessions_would_go_the_freest_or_the_fullest_is_next():
    workers = (("far beyond", 2, 5), ("just", 2, 2), ("wider", 4, 4))
    assert order(index("spread", *workers)) == ["wider", "just", "far beyond"]
    assert order(index("pack", *workers)) == ["just", "wider", "far beyond"]


@BOTH
def test_law_among_equals_who_has_been_there_longest_is_first(policy):
    free = index(policy, ("a", 1, 0), ("b", 1, 0), ("c", 1, 0))
    free.take_out("a")
    free.put("a", "m", 1, 0)
    assert order(free) == ["b", "c", "a"]


@BOTH
def test_law_places_are_counted_by_model_and_only_where_there_are_any(policy):
    free = index(policy, ("a", 2, 0), ("full", 0, 0), ("over", -1, 3))
    free.put("big", "b", 3, 0)
    assert dict(free.totals) == {"m": 2, "b": 3}
    assert free.best(["b"]) == "big" and free.best(["none"]) is None
    free.take_out("a")
    free.take_out("unknown")
    assert dict(free.totals) == {"b": 3} and free.best(["m"]) is None
    free.take_out("big")
    assert dict(free.totals) == {} and free._ranks == {}, "what is not there takes no memory"


@BOTH
def test_the_best_of_several_models_is_one(policy):
    free = index(policy, ("a", 2, 0))
    free.put("b", "other", {"spread": 3, "pack": 1}[policy], 0)
    assert order(free, ("m", "other")) == ["b", "a"]
