"""How many sessions a worker serves, by its measured pace."""

import pytest

from server.placement.places import places_at

MOST = {"most": 4, "min_fps": 16.0, "max_fps": 24.0}


@pytest.mark.parametrize(
    ("pace", "places"),
    [(100.0, 4), (64.0, 4), (63.9, 3), (32.0, 2), (31.9, 1), (16.0, 1), (0.5, 1), (0.0, 1)],
)
def test_law_as_many_as_each_keep_their_frame_rate_and_one_in_any_case(pace, places):
    assert places_at(pace, **MOST) == places


def test_nobody_needs_more_than_may_be_made():
    assert places_at(40.0, **MOST) == 2
    assert places_at(40.0, **MOST | {"max_fps": 10.0}) == 4
    assert places_at(30.0, **MOST | {"max_fps": 10.0}) == 3


def test_before_it_is_measured_and_where_none_is_asked_for_all_may_come():
    assert places_at(None, **MOST) == 4
    assert places_at(0.5, **MOST | {"min_fps": 0.0}) == 4
