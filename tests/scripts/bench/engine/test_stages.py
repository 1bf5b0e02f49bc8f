"""Stages that no clock marks follow from those that one does."""

from scripts.bench.engine import stages


def test_a_pass_whose_hints_are_not_marked_is_not_split() -> None:
    marks = {"total": 20.0, "pass 1": 4.0}
    assert "pass without hints" not in stages.stages_of(marks, guided=True)
    assert stages.stages_of(marks, guided=False)["pass without hints"] == 4


def test_what_follows_from_the_marks() -> None:
    found = stages.stages_of(
        {"total": 20, "depth": 1, "encode": 2, "generate": 10, "decode": 3, "pass 1": 4, "hints 1": 1.5}
        | {"clean pass": 3},
        guided=True,
    )
    assert found["all passes"] == 13
    assert found["copy out and rest"] == 1 and found["pass without hints"] == 2.5
    names = ["chunk", "decode", "clean pass", "pass 2", "pass 1", "depth"]
    assert sorted(names, key=stages.place) == names[::-1]
