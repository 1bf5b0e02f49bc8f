"""A journal's record: what is put comes back, what is damaged or foreign is refused in words."""

import json
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.journal import record as limits
from server.journal.record import Record, RecordRejected

names = st.from_regex(r"\A[a-z]{1,8}(/[A-Za-z0-9_-]{1,10})?\Z")


@st.composite
def records(draw: st.DrawFn) -> Record:
    needs = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    given_names = draw(st.sets(st.sampled_from(needs)))
    return Record(
        draw(st.integers(0, 9)), tuple(needs), {name: draw(st.binary(max_size=50)) for name in given_names}
    )


def same(one: Record, other: Record) -> bool:
    return (one.moves, one.needs, one.given) == (other.moves, other.needs, other.given)


@given(records())
def test_what_is_encoded_is_decoded(record: Record) -> None:
    assert same(Record.decode(record.encode()), record)


@given(records(), st.data())
def test_a_record_that_is_cut_short_or_damaged_is_refused(record: Record, data: st.DataObject) -> None:
    whole = record.encode()
    with pytest.raises(RecordRejected):
        Record.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    damaged = bytearray(whole)
    damaged[at] ^= 1 << bit
    with pytest.raises(RecordRejected):
        Record.decode(bytes(damaged))


HEADERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["moves", "needs", "given", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def sealed(header: bytes, body: bytes = b"", version: int = limits.VERSION, magic: bytes = b"DLJR") -> bytes:
    """A record whose checksum is right, whatever else is wrong."""
    check = zlib.crc32(header + body)
    return struct.pack(">4sHII", magic, version, len(header), check) + header + body


@settings(max_examples=300)
@given(HEADERS.map(lambda header: json.dumps(header).encode()) | st.binary(max_size=60))
def test_any_header_is_taken_or_refused_in_words(header: bytes) -> None:
    try:
        Record.decode(sealed(header))
    except RecordRejected as error:
        assert "expected" in str(error)


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_foreign_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(RecordRejected, match="expected"):
        Record.decode(data)


HEADER = b'{"moves":0,"needs":["a"],"given":[["a",2]]}'


def test_a_record_by_hand_is_taken() -> None:
    assert Record.decode(sealed(HEADER, b"xy")).given == {"a": b"xy"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (sealed(HEADER, b"xy", version=2), "version: expected 1, got 2"),
        (sealed(HEADER, b"xy", magic=b"PICK"), "record: expected one that begins with b'DLJR'"),
        (sealed(HEADER, b"xyz"), "given: expected 59 bytes in all, got 60"),
        (sealed(HEADER, b"x"), "given: expected 59 bytes in all, got 58"),
        (sealed(HEADER.replace(b'["a",2]', b'["b",2]'), b"xy"), "given: expected parts that are needed"),
        (sealed(HEADER.replace(b'["a",2]', b'["a",1],["a",1]'), b"xy"), "given: expected"),
        (sealed(HEADER.replace(b'["a",2]', b'["a",-2]')), "given: expected a name and a size"),
        (sealed(HEADER.replace(b'"needs":["a"]', b'"needs":["a","a"]'), b"xy"), "needs: expected 1 to 64"),
        (
            sealed(HEADER.replace(b'"needs":["a"]', b'"needs":["../a","a"]'), b"xy"),
            "needs: expected names as",
        ),
        (sealed(HEADER.replace(b'"needs":["a"]', b'"needs":[1,"a"]'), b"xy"), "needs: expected names"),
        (sealed(HEADER.replace(b'"moves":0', b'"moves":-1'), b"xy"), "moves: expected 0 ..."),
        (sealed(b" " * (limits.MAX_HEADER_BYTES + 1)), "header: expected at most 16384 bytes"),
    ],
)
def test_what_is_wrong_with_a_record_is_named(data: bytes, words: str) -> None:
    with pytest.raises(RecordRejected) as refused:
        Record.decode(data)
    assert words in str(refused.value)


def test_the_size_of_a_record_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RECORD_BYTES", 100)
    assert Record(0, ("a",), {"a": bytes(100)}).num_bytes == 100
    with pytest.raises(RecordRejected, match="given: expected at most 100 bytes, got 101"):
        Record(0, ("a",), {"a": bytes(101)})
    with pytest.raises(RecordRejected, match="record: expected at most 100 bytes"):
        Record.decode(sealed(HEADER, bytes(101)))
    with pytest.raises(RecordRejected, match="needs: expected 1 to 64"):
        Record(0, tuple(f"a/{number}" for number in range(65)), {})


def test_a_record_takes_of_an_earlier_one_what_it_needs_and_no_more() -> None:
    earlier = Record(0, ("a", "b", "c"), {"a": b"1", "b": b"2", "c": b"3"})
    whole = Record(0, ("a", "b", "d"), {"a": b"new"}).after(earlier)
    assert whole.given == {"a": b"new", "b": b"2"} and whole.missing == ("d",)
