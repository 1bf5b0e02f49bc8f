"""Whatever is offered is answered as RFC 3264 has it, or refused in words."""

import asyncio
import sys

import aioice.mdns
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from server.webrtc.candidates import MAX_CANDIDATES
from server.webrtc.offer import Offer
from server.webrtc.sdp_sections import MAX_LINES, MAX_MEDIA, InvalidOffer
from tests.server.webrtc.offers import published, watched
from tests.server.webrtc.sdp_texts import CLIENTS, H264, HEAD, PLAIN, SAFARI, TRANSPORT, VIDEO

CODECS_OF_AIORTC = ("H264", "VP8", "rtx", "opus", "G722", "PCMU", "PCMA")
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:1\na=sendonly\na=rtcp-mux\na=rtpmap:111 opus/48000/2\n"
REVERSED = {
    "sendrecv": {"sendrecv", "sendonly", "recvonly", "inactive"},
    "sendonly": {"recvonly", "inactive"},
    "recvonly": {"sendonly", "inactive"},
    "inactive": {"inactive"},
}


@pytest.fixture(autouse=True)
def nobody_on_the_link(monkeypatch):
    """A name in .local is not found, at once: aioice asks the link for a second."""

    async def resolve(_protocol, _name, **_patience):
        return None

    monkeypatch.setattr(aioice.mdns.MDnsProtocol, "resolve", resolve)


async def answer_of(offer: Offer) -> str:
    """By aiortc, as a connection makes it, without its candidates."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        pc.addTransceiver("video", "sendrecv")
        await pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        return offer.answered((await pc.createAnswer()).sdp)
    finally:
        await pc.close()


def answered(offer: Offer) -> str:
    return asyncio.run(answer_of(offer))


def sections(text: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in text.replace("\r", "").split("\n"):
        if line.startswith("m="):
            found.append([])
        found[-1].append(line)
    return found


def values(section: list[str], name: str) -> list[str]:
    return [line.partition(":")[2].strip() for line in section if line.partition(":")[0] == f"a={name}"]


def check(offered: str, answer: str) -> None:
    """An answer fits its offer (RFC 3264, 6; RFC 8843, 7.3; RFC 8866)."""
    ours, theirs = sections(answer), sections(offered)
    assert len(ours) == len(theirs), "an m-line for each"
    bundled = [mid for group in values(ours[0], "group") for mid in group.split()[1:]]
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        kind, port, protocol, *formats = mine[0].split()
        offered_kind, _, offered_protocol, *offered_formats = other[0].split()
        assert (kind, protocol) == (offered_kind, offered_protocol)
        assert set(formats) <= {*offered_formats, "0"}
        assert values(mine, "mid") in ([], values(other, "mid")[:1])
        if port == "0":
            assert not set(values(mine, "mid")) & set(bundled)
            continue
        assert formats and values(mine, "ice-ufrag") and values(mine, "fingerprint")
        assert values(mine, "setup")[0] in ("active", "passive")
        if kind != "m=application":
            (direction,) = [line[2:] for line in mine if line[2:] in REVERSED]
            asked = [[line[2:] for line in part if line[2:] in REVERSED] for part in (other, theirs[0])]
            # One that contradicts itself is taken by one of its words.
            assert any(direction in REVERSED[one] for one in asked[0] or asked[1] or ["sendrecv"])
    assert set(bundled) <= {mid for group in values(theirs[0], "group") for mid in group.split()[1:]}


def crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("ends", [str, crlf])
def test_publishers_that_nobody_here_wrote_are_taken(name, ends):
    text = ends(CLIENTS[name])
    answer = answered(published(text))
    check(text, answer)
    videos = [section for section in sections(answer) if section[0].startswith("m=video")]
    assert [section[0].split()[1] != "0" for section in videos] == [True]


@pytest.mark.parametrize("codecs", [("h264",), ("vp8",), ("vp8", "h264")])
@pytest.mark.parametrize("profile", ["42e01f", "42001f", "4d001f", "640c1f", "64001f", "f4001f", "6e001f"])
@pytest.mark.parametrize("mode", ["1", "0"])
def test_every_h264_profile_is_taken_from_a_sender_whatever_is_sent(codecs, profile, mode):
    text = PLAIN.replace("42e01f", profile).replace("packetization-mode=1", f"packetization-mode={mode}")
    answer = answered(published(text, codecs))
    assert f"packetization-mode={mode};profile-level-id={profile}" in answer
    assert "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" in answer and "a=recvonly" in answer


@pytest.mark.parametrize(("codecs", "direction"), [(("h264",), "sendrecv"), (("vp8",), "recvonly")])
def test_each_direction_has_its_own_list(codecs, direction):
    """One codec is enough for both; where it may not be sent, it is received all the same."""
    answer = answered(published(PLAIN.replace("a=sendonly\n", ""), codecs))
    assert f"a={direction}\r\n" in answer and "H264" in answer


def test_a_sender_of_vp8_is_taken_by_a_server_that_sends_h264():
    text = PLAIN.replace(H264, "a=rtpmap:96 VP8/90000\n")
    assert "a=rtpmap:96 VP8/90000" in answered(published(text, ("h264",)))


def test_what_is_sent_to_a_viewer_is_of_the_setting():
    answer = answered(watched(SAFARI, ("vp8",)))
    assert "m=video 9 UDP/TLS/RTP/SAVPF 125\r\n" in answer and "a=sendonly" in answer
    offered = PLAIN.replace("sendonly", "recvonly")
    for codecs, text in ((("vp8",), offered), (("h264",), offered.replace("mode=1", "mode=0"))):
        with pytest.raises(InvalidOffer, match="offered H264, expected"):
            watched(text, codecs)


def test_a_bundle_has_the_transport_of_its_first():
    text = f"{HEAD}a=group:BUNDLE 1 0\n{AUDIO}{TRANSPORT}{VIDEO}{H264}a=bundle-only\n"
    text = text.replace("m=video 9", "m=video 0")
    answer = answered(published(text))
    check(text, answer)
    assert "a=group:BUNDLE 1 0\r\n" in answer and "m=video 0" not in answer
    without_codec = text.replace("opus", "mpeg4-generic")
    answer = answered(published(without_codec))
    check(without_codec, answer)
    assert "a=group:BUNDLE 0\r\n" in answer and "m=audio 0" in answer and "m=video 0" not in answer


def test_port_0_alone_refuses_an_m_line():
    with pytest.raises(InvalidOffer, match="the video has port 0"):
        published(PLAIN.replace("m=video 9", "m=video 0"))
    with pytest.raises(InvalidOffer, match="the video has port 0"):
        text = PLAIN.replace("m=video 9", "m=video 0").replace("a=group:BUNDLE 0\n", "")
        published(text + "a=bundle-only\n")


def test_defaults_and_what_the_session_says_count_for_each_m_line():
    """RFC 8866, 6.7: sendrecv; RFC 4145, 4: an offer without a=setup is active."""
    for text in (
        PLAIN.replace("a=sendonly\n", ""),
        PLAIN.replace("a=setup:actpass\n", ""),
        f"{HEAD}{TRANSPORT}a=sendonly\na=rtcp-mux\n" + VIDEO.replace("a=sendonly\na=rtcp-mux\n", "") + H264,
    ):
        check(text, answered(published(text)))
    assert "a=setup:passive" in answered(published(PLAIN.replace("a=setup:actpass\n", "")))
    with pytest.raises(InvalidOffer, match=r"sends no video \(inactive\)"):
        published(PLAIN.replace("a=sendonly\n", "").replace("t=0 0\n", "t=0 0\na=inactive\n"))


@pytest.mark.parametrize(
    "line",
    [
        "a=candidate:1 1 udp",
        "a=candidate:1 1 udp x 192.0.2.1 5000 typ host",
        "a=ssrc:12345",
        "a=ssrc:x cname:y",
        "a=ssrc:99999999999 cname:y",
        "a=ssrc-group:FID x",
        "a=extmap:1/sendonly urn:3gpp:video-orientation",
        "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time attr1",
        "a=extmap:x",
        "a=fmtp:97 apt=96",
        "a=fmtp:x",
        "a=fmtp:96",
        "a=rtcp-fb:96",
        "a=rtcp:x",
        "a=rtpmap:x",
        "a=rtpmap:97 VP9",
        "a=rtpmap:300 VP9/90000",
        "a=setup:holdconn",
        "a=sctp-port:x",
        "a=max-message-size:x",
        "a=mid",
        "a=",
        "a=fingerprint:",
        "a=fingerprint:sha-1 00",
        "a=group:BUNDLE 9",
        "c=IN IP9 nowhere",
        "what is this",
        "",
        "a=unknown:\u2028\x0b\x85\u00e9",
    ],
)
def test_an_odd_line_is_passed_over(line):
    for text in (f"{PLAIN}{line}\n", PLAIN.replace("t=0 0\n", f"t=0 0\n{line}\n")):
        check(text, answered(published(text)))


@pytest.mark.parametrize(
    "media",
    [
        AUDIO.replace("opus/48000/2", "MPEG4-GENERIC/48000/2") + TRANSPORT,
        AUDIO.replace("UDP/TLS/RTP/SAVPF", "RTP/XYZ") + TRANSPORT,
        VIDEO.replace("mid:0", "mid:1") + TRANSPORT + H264,
        "m=application 9 UDP/BFCP *\na=mid:1\n" + TRANSPORT,
        "m=application 9 UDP/DTLS/SCTP x\na=mid:1\n" + TRANSPORT,
        "m=text 9 UDP/TLS/RTP/SAVPF 98\na=mid:1\n" + TRANSPORT,
        "m=message 9 TCP/MSRP *\na=mid:1\n",
        AUDIO.replace("audio 9", "audio 0"),
        AUDIO.replace("mid:1", "mid:0") + TRANSPORT,
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_media_of_no_use_are_answered_with_port_0_in_their_place(media, is_first):
    head = f"{HEAD}a=group:BUNDLE 1 0\n"
    video = VIDEO + TRANSPORT + H264
    is_twice = "a=mid:0" in media  # then the first of them counts
    text = head + (media + video if is_first and not is_twice else video + media)
    if "m=video" in media and is_first:
        return  # then the other one is of no use: the case below
    answer = answered(published(text))
    check(text, answer)
    ports = [section[0].split()[1] for section in sections(answer)[1:]]
    assert ports == (["0", "9"] if is_first and not is_twice else ["9", "0"])
    assert "a=group:BUNDLE 0\r\n" in answer


def test_the_first_video_that_can_be_taken_is_the_camera():
    other = VIDEO.replace("mid:0", "mid:1") + TRANSPORT + "a=rtpmap:96 VP9/90000\n"
    text = f"{HEAD}a=group:BUNDLE 1 0\n{other}{VIDEO}{TRANSPORT}{H264}"
    answer = answered(published(text))
    check(text, answer)
    assert [section[0].split()[1] for section in sections(answer)[1:]] == ["0", "9"]


@pytest.mark.parametrize(
    "form", ["UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000"]
)
def test_data_channels_of_older_browsers_are_taken_in_their_form(form):
    text = (
        f"{HEAD}a=group:BUNDLE 1 0\nm=application 9 {form}\na=mid:1\n"
        f"a=sctpmap:5000 webrtc-datachannel 65535\n{TRANSPORT}{VIDEO}{TRANSPORT}{H264}"
    )
    answer = answered(published(text))
    check(text, answer)
    assert f"m=application 9 {form}\r\n" in answer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PLAIN.replace("H264", "VP9"), "offered VP9, expected H264 or VP8"),
        (PLAIN.replace("96", "45"), "offered H264, .* a payload type of 96 to 127"),
        (PLAIN.replace("a=ice-pwd", "a=x"), "no ICE credentials: expected a=ice-ufrag and a=ice-pwd"),
        (PLAIN.replace("sha-256", "sha-1"), "no usable fingerprint: offered sha-1, expected a whole sha-256"),
        (PLAIN.replace("a=rtcp-mux\n", "").replace("a=group:BUNDLE 0\n", ""), "expected a=rtcp-mux"),
        (PLAIN.replace("UDP/TLS/RTP/SAVPF", "UDP/X"), "the protocol UDP/X: expected UDP/TLS/RTP/SAVPF"),
        (PLAIN.replace("m=video 9", "m=video x"), 'line 6 is "m=video x UDP/TLS/RTP/SAVPF 96", expected m='),
        (PLAIN + AUDIO * MAX_MEDIA, f"at most {MAX_MEDIA}"),
        (PLAIN + "a=x\n" * MAX_LINES, f"lines, expected at most {MAX_LINES}"),
        (AUDIO, "no SDP: expected it to begin with v=0"),
        (HEAD, "no video: expected one video track"),
        (f"{HEAD}{AUDIO.replace('mid:1', 'mid:0')}{VIDEO}{TRANSPORT}{H264}", "the video has the mid 0"),
    ],
)
def test_a_refusal_names_what_was_offered_and_what_is_taken(text, words):
    with pytest.raises(InvalidOffer, match=words):
        published(text)


def test_a_bundle_may_name_a_mid_that_is_missing():
    text = PLAIN.replace("BUNDLE 0", "BUNDLE gone 0")
    answer = answered(published(text))
    check(text, answer)
    assert "a=group:BUNDLE 0\r\n" in answer


def test_without_a_bundle_none_is_answered():
    text = PLAIN.replace("a=group:BUNDLE 0\n", "")
    answer = answered(published(text))
    check(text, answer)
    assert "BUNDLE" not in answer


def test_an_m_line_without_a_mid_is_answered_without_one():
    text = PLAIN.replace("a=group:BUNDLE 0\n", "").replace("a=mid:0\n", "")
    answer = answered(published(text))
    check(text, answer)
    assert "a=mid" not in answer and "m=video 9" in answer


def candidate(port: int, address: str = "192.0.2.1") -> str:
    return f"a=candidate:1 1 udp 2130706431 {address} {port} typ host\n"


def test_candidates_of_an_offer_are_as_few_as_those_that_are_trickled():
    text = PLAIN + "".join(candidate(1 + port) for port in range(900))
    offer = published(text)
    assert offer.candidates == offer.sdp.count("a=candidate") == MAX_CANDIDATES
    assert published(PLAIN + candidate(5) * 900).candidates == 1, "the same again is no other"


def test_candidates_of_a_bundle_are_those_of_all_its_media():
    text = f"{HEAD}a=group:BUNDLE 0 1\n{VIDEO}{TRANSPORT}{H264}{candidate(5)}{AUDIO}{TRANSPORT}{candidate(6)}"
    assert published(text).candidates == 2
    own = TRANSPORT.replace("nxcM", "mine")
    assert published(text.replace(f"{AUDIO}{TRANSPORT}", f"{AUDIO}{own}")).candidates == 1
    assert published(text).mids == {"0": "0", "1": "0"}


HOSTILE = {
    "candidates": candidate(5000),
    "sources": "a=ssrc:{n} cname:x\n",
    "extensions": "a=extmap:{n} urn:x:{n}\n",
    "codecs": "a=rtpmap:{n} H264/90000\na=fmtp:{n} x=1\n",
    "feedback": "a=rtcp-fb:* nack pli\n",
    "fingerprints": "a=fingerprint:sha-256 00\n",
    "groups": "a=group:BUNDLE 0\n",
    "mids": "a=mid:{n}\n",
    "odd": "a=x\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_long_offer_costs_what_its_length_says_and_aiortc_sees_little_of_it(kind):
    def text(count: int) -> str:
        return PLAIN + "".join(HOSTILE[kind].format(n=number) for number in range(count))

    def calls(count: int) -> int:
        """Calls of functions, those written in C too, while an offer is read."""
        seen = 0

        def count_call(frame: object, event: str, argument: object) -> None:
            nonlocal seen
            seen += event in ("call", "c_call")

        long = text(count)
        sys.setprofile(count_call)
        try:
            published(long)
        finally:
            sys.setprofile(None)
        return seen

    few, many, most = calls(100), calls(450), calls(900)
    assert most - few <= 3 * (many - few) + 1000
    assert len(published(text(900)).sdp) < 6000


LINES = [line for text in CLIENTS.values() for line in text.splitlines()]
PIECES = st.sampled_from(["", "0", "-1", "x", "99999999999", " ", ":", "/", "é", "\x00", "\\1", "a=", "m="])


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """An offer of a real client with some lines lost, doubled, moved, cut, or put in from another."""
    lines = draw(st.sampled_from(list(CLIENTS.values()))).splitlines()
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(1, len(lines) - 1))
        match draw(st.integers(0, 6)):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, lines[place])
            case 2:
                lines.insert(place, draw(st.sampled_from(LINES)))
            case 3:
                lines[place] = lines[place][: draw(st.integers(0, len(lines[place])))]
            case 4:
                words = lines[place].split(" ")
                words[draw(st.integers(0, len(words) - 1))] = draw(PIECES)
                lines[place] = " ".join(words)
            case 5:
                name, _, value = lines[place].partition(":")
                lines[place] = f"{name}:{draw(PIECES)}{value}"
            case _:
                other = draw(st.integers(1, len(lines) - 1))
                lines[place], lines[other] = lines[other], lines[place]
        if len(lines) < 3:
            break
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines)


@settings(max_examples=150)
@given(mutated(), st.sampled_from([published, watched]))
def test_any_offer_is_answered_or_refused_in_words(text, read):
    try:
        offer = read(text)
    except InvalidOffer as refusal:
        assert len(str(refusal)) > 20
        return
    check(text, answered(offer))


@given(st.text(st.characters(codec="utf-8"), max_size=400))
def test_any_text_is_read_or_refused(text):
    for head in ("", "v=0\n", HEAD, PLAIN):
        try:
            published(head + text)
        except InvalidOffer as refusal:
            assert len(str(refusal)) > 20
