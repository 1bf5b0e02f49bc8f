import threading

from server.engine.chunk_job import ChunkJob, LatestWins
from streaming.api import ChunkParameters


def test_the_latest_value_is_taken_and_nothing_replaces_it_then():
    slot = LatestWins("a")
    assert slot.replace("b") and slot.replace("c")
    assert slot.take() == "c"
    assert not slot.replace("d")
    assert slot.take() == "c"


def test_law_the_writer_knows_which_value_was_taken():
    """What the reader takes is the last one that the writer was told it could put there."""
    for _ in range(200):
        slot, start, found = LatestWins(0), threading.Barrier(2), list[int]()

        def read(slot=slot, start=start, found=found):
            start.wait()
            found.append(slot.take())

        reader = threading.Thread(target=read)
        reader.start()
        start.wait()
        put = 0
        while put < 100_000 and slot.replace(put + 1):
            put += 1
        reader.join()
        assert found == [put]


def job(told: list) -> ChunkJob:
    return ChunkJob(
        (),
        list,
        LatestWins(ChunkParameters()),
        on_taken=lambda: told.append("taken"),
        on_frames=lambda piece: told.append(piece.chunk),
    )


def test_what_becomes_of_a_chunk_is_told_until_its_session_closes_it(result):
    told = []
    under_way = job(told)
    under_way.taken()
    under_way.add(result)
    under_way.close()
    under_way.add(result)
    under_way.taken()
    assert told == ["taken", result.chunk]
