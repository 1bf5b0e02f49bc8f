import pytest

from server.session.forecast import ChunkDurations


@pytest.fixture
def durations():
    return ChunkDurations()


def test_nothing_is_known_before_the_first_chunk(durations):
    assert durations.usual(12, 40.0) is None
    durations.note(0.5, chunk=1, recaches=True)
    assert durations.usual(12, 40.0) is None


def test_after_the_first_chunk_the_pace_of_the_device_counts_if_it_is_slower(durations):
    durations.note(0.2, chunk=0, recaches=False)
    assert durations.usual(12, 40.0) == pytest.approx(0.3)
    assert durations.usual(12, 120.0) == durations.usual(12, None) == 0.2


def test_later_chunks_count_alone_and_the_last_three_of_them(durations):
    for chunk, seconds in enumerate((4.0, 9.0, 0.1, 0.3, 0.2)):
        durations.note(seconds, chunk=chunk, recaches=False)
    assert durations.usual(12, 1.0) == 0.2
    durations.note(7.0, chunk=0, recaches=True)  # a cut
    assert durations.usual(12, 1.0) == 0.2


def test_a_recache_is_guessed_then_known_and_an_outlier_is_bounded(durations):
    assert durations.recache_overhead(0.4) == pytest.approx(0.2), "half as long again"
    durations.note(0.5, chunk=4, recaches=True)
    assert durations.recache_overhead(0.4) == pytest.approx(0.1)
    assert durations.recache_overhead(0.6) == 0.0
    for chunk in (5, 6):
        durations.note(60.0, chunk=chunk, recaches=True)
    assert durations.recache_overhead(0.4) == pytest.approx(0.8), "three times as long in all"


def test_the_last_three_recaches_tell(durations):
    for seconds in (9.0, 9.0, 9.0, 0.5, 0.7, 0.6):
        durations.note(seconds, chunk=4, recaches=True)
    assert durations.recache_overhead(0.4) == pytest.approx(0.2)
    assert durations.usual(12, 40.0) is None, "and nothing of other chunks"
