"""Goals stand beside the stages that they are of."""

from scripts.bench.engine import table
from streaming.api import CHUNK


def test_goals_are_those_of_the_issue() -> None:
    goals = [table.goal_ms("chunk", *key) for key in table.GOALS]
    assert [round(CHUNK * 1e3 / (goal or 1)) for goal in goals] == [24, 33, 40, 55]
    assert table.goal_ms("pass without hints", "fast", "depth") == 40
    assert table.goal_ms("pass 1", "exact", "depth") is None
