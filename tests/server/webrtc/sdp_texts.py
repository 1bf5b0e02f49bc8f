"""For tests: offers in the form of clients that nobody here wrote, by what RFC 8829 to 9725 have them say."""

FINGERPRINT = ":".join(f"{(17 * number) % 256:02X}" for number in range(32))
TRANSPORT = f"""\
a=ice-ufrag:nxcM
a=ice-pwd:ezjAjgSSLLvbRhUA1zc6Seab
a=fingerprint:sha-256 {FINGERPRINT}
a=setup:actpass
"""
HEAD = "v=0\no=- 3877212184 2 IN IP4 127.0.0.1\ns=-\nt=0 0\n"
VIDEO = """\
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:0
a=sendonly
a=rtcp-mux
"""
H264 = """\
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1
"""
PLAIN = f"{HEAD}a=group:BUNDLE 0\n{VIDEO}{TRANSPORT}{H264}"

SAFARI = f"""\
v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=extmap-allow-mixed
a=msid-semantic: WMS 7a1c
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 102 0 8 105 13 110 113 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
{TRANSPORT}a=ice-options:trickle
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendonly
a=msid:7a1c 0f3e
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:102 ILBC/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:105 CN/16000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:113 telephone-event/16000
a=rtpmap:126 telephone-event/8000
a=ssrc:2485023425 cname:Zw8c
m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101 127 125 104 106
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
{TRANSPORT}a=ice-options:trickle
a=mid:1
a=extmap:14 urn:ietf:params:rtp-hdrext:toffset
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:13 urn:3gpp:video-orientation
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:7a1c 9b42
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 H264/90000
a=rtcp-fb:96 goog-remb
a=rtcp-fb:96 transport-cc
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:98 H264/90000
a=rtcp-fb:98 nack pli
a=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:99 rtx/90000
a=fmtp:99 apt=98
a=rtpmap:100 H264/90000
a=fmtp:100 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f
a=rtpmap:101 rtx/90000
a=fmtp:101 apt=100
a=rtpmap:127 H265/90000
a=rtpmap:125 VP8/90000
a=rtcp-fb:125 nack
a=rtpmap:104 red/90000
a=rtpmap:106 ulpfec/90000
a=ssrc-group:FID 3563088213 1093093722
a=ssrc:3563088213 cname:Zw8c
a=ssrc:3563088213 msid:7a1c 9b42
a=ssrc:1093093722 cname:Zw8c
a=ssrc:1093093722 msid:7a1c 9b42
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
{TRANSPORT}a=ice-options:trickle
a=mid:2
a=sctp-port:5000
a=max-message-size:262144
"""

OBS = f"""\
v=0
o=rtc 2718281828 0 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=group:LS 0 1
a=msid-semantic:WMS *
a=setup:actpass
a=ice-ufrag:Rx2k
a=ice-pwd:mNcH0bq1b0Wm3WCPpDRO9w
a=ice-options:ice2,trickle
a=fingerprint:sha-256 {FINGERPRINT}
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:0
a=sendonly
a=msid:obs audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1
a=ssrc:123 cname:obs
a=ssrc:123 msid:obs audio
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:1
a=sendonly
a=msid:obs video
a=rtcp-mux
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 goog-remb
a=fmtp:96 profile-level-id=64001f;packetization-mode=1;level-asymmetry-allowed=1
a=ssrc:124 cname:obs
a=ssrc:124 msid:obs video
"""

GSTREAMER = f"""\
v=0
o=- 8142325811713482389 0 IN IP4 0.0.0.0
s=-
t=0 0
a=ice-options:trickle
a=group:BUNDLE video0 audio1
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=setup:actpass
a=ice-ufrag:2nDV9SHEWjjSMVkZbjKGVLVYVxaXMPIr
a=ice-pwd:yUi3bPjcvn6Mp3bSWdWCkxLDMZ1pgdfw
a=rtcp-mux
a=rtcp-rsize
a=sendonly
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 ccm fir
a=framerate:30
a=fmtp:96 packetization-mode=1; profile-level-id=4d401f; sprop-parameter-sets=Z01AH5WoFAFuQA==,aO48gA==
a=ssrc:3001 msid:user3001@host webrtctransceiver0
a=ssrc:3001 cname:user3001@host
a=mid:video0
a=fingerprint:sha-256 {FINGERPRINT}
m=audio 0 UDP/TLS/RTP/SAVPF 97
c=IN IP4 0.0.0.0
a=setup:actpass
a=ice-ufrag:2nDV9SHEWjjSMVkZbjKGVLVYVxaXMPIr
a=ice-pwd:yUi3bPjcvn6Mp3bSWdWCkxLDMZ1pgdfw
a=bundle-only
a=rtcp-mux
a=sendonly
a=rtpmap:97 OPUS/48000/2
a=fmtp:97 sprop-maxcapturerate=48000; stereo=0
a=mid:audio1
a=fingerprint:sha-256 {FINGERPRINT}
"""

FIREFOX = f"""\
v=0
o=mozilla...THIS_IS_SDPARTA-99.0 4962303333179871722 0 IN IP4 0.0.0.0
s=-
t=0 0
a=fingerprint:sha-256 {FINGERPRINT}
a=group:BUNDLE 0 1
a=ice-options:trickle
a=msid-semantic:WMS *
m=video 52461 UDP/TLS/RTP/SAVPF 120 124 126 127 97 98
c=IN IP4 192.0.2.7
a=candidate:0 1 UDP 2122252543 6a1e2d3c-0000-4000-8000-0123456789ab.local 52461 typ host
a=candidate:2 1 TCP 2105524479 6a1e2d3c-0000-4000-8000-0123456789ab.local 9 typ host tcptype active
a=candidate:0 2 UDP 2122252542 6a1e2d3c-0000-4000-8000-0123456789ab.local 52462 typ host
a=candidate:1 1 UDP 1686052863 192.0.2.7 52461 typ srflx raddr 0.0.0.0 rport 0
a=sendrecv
a=end-of-candidates
a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:6/recvonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1
a=fmtp:97 profile-level-id=42e01f;level-asymmetry-allowed=1
a=fmtp:120 max-fs=12288;max-fr=60
a=fmtp:124 apt=120
a=fmtp:127 apt=126
a=fmtp:98 apt=97
a=ice-pwd:e3baa26dd2fa5030d881d385f1e36cce
a=ice-ufrag:58b99ead
a=mid:0
a=msid:{{b1d0}} {{5f3c}}
a=rtcp-fb:120 nack
a=rtcp-fb:120 nack pli
a=rtcp-fb:120 ccm fir
a=rtcp-fb:* transport-cc
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:120 VP8/90000
a=rtpmap:124 rtx/90000
a=rtpmap:126 H264/90000
a=rtpmap:127 rtx/90000
a=rtpmap:97 H264/90000
a=rtpmap:98 rtx/90000
a=setup:actpass
a=ssrc:1988216513 cname:{{3a0c}}
a=ssrc:2731127434 cname:{{3a0c}}
a=ssrc-group:FID 1988216513 2731127434
m=application 0 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=bundle-only
a=sendrecv
a=ice-pwd:e3baa26dd2fa5030d881d385f1e36cce
a=ice-ufrag:58b99ead
a=mid:1
a=setup:actpass
a=sctp-port:5000
a=max-message-size:1073741823
"""

FFMPEG = f"""\
v=0
o=FFmpeg 4489045141692799359 2 IN IP4 127.0.0.1
s=FFmpegPublishSession
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=ice-ufrag:1a2b3c4d
a=ice-pwd:0123456789abcdef0123456789abcdef
a=fingerprint:sha-256 {FINGERPRINT.lower()}
a=setup:passive
a=mid:0
a=sendonly
a=msid:FFmpeg audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=ssrc:1234567 cname:FFmpeg
a=ssrc:1234567 msid:FFmpeg audio
m=video 9 UDP/TLS/RTP/SAVPF 106
c=IN IP4 0.0.0.0
a=ice-ufrag:1a2b3c4d
a=ice-pwd:0123456789abcdef0123456789abcdef
a=fingerprint:sha-256 {FINGERPRINT.lower()}
a=setup:passive
a=mid:1
a=sendonly
a=msid:FFmpeg video
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:106 H264/90000
a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c01f
a=ssrc:7654321 cname:FFmpeg
a=ssrc:7654321 msid:FFmpeg video
"""

# As werift 0.24.4 (npm) wrote it; the fingerprint is not its own.
WERIFT = f"""\
v=0
o=- 14072836 0 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic:WMS *
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=candidate:626da4e5384a0ce2d0d93678a 1 udp 2116026367 127.0.0.1 42757 typ host generation 0 ufrag 197e
a=end-of-candidates
a=ice-ufrag:197e
a=ice-pwd:3fa853775ba78691851e38
a=ice-options:trickle
a=fingerprint:sha-256 {FINGERPRINT}
a=setup:actpass
a=sendonly
a=mid:0
a=rtcp:9 IN IP4 0.0.0.0
a=rtcp-mux
a=ssrc:615201662 cname:e0c6350a-0368-446f-81f6-eb928c658e49
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 goog-remb
"""

# As GStreamer 1.22's webrtcbin wrote it, with addresses of the documentation.
WEBRTCBIN = f"""\
v=0
o=- 6695516454591250683 0 IN IP4 0.0.0.0
s=-
t=0 0
a=ice-options:trickle
a=group:BUNDLE video0
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=setup:actpass
a=ice-ufrag:zFPUEKsCqUfXiWQEWVoQo/dwf4sM+Imf
a=ice-pwd:0DXBMV2FNX5Nn7kpiBajTfMtLL63EHyw
a=rtcp-mux
a=rtcp-rsize
a=sendonly
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 transport-cc
a=framerate:15
a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAFtoCgL/lwFqDAwNSgAAAAwCAAAAPR4sXUA==,aM48gA==;profile-level-id=42c016;level-asymmetry-allowed=1
a=ssrc:1921252905 msid:user2260295874@host-9c821a8b webrtctransceiver0
a=ssrc:1921252905 cname:user2260295874@host-9c821a8b
a=mid:video0
a=fingerprint:sha-256 {FINGERPRINT}
a=rtcp-mux-only
a=candidate:1 1 UDP 2015363327 192.0.2.7 36910 typ host
a=candidate:2 1 TCP 1015021823 192.0.2.7 9 typ host tcptype active
a=candidate:4 1 UDP 2015363583 fe80::28a7:beff:fe9f:9aef 41387 typ host
"""  # noqa: E501 -- as it was written

# As Firefox 153 wrote it where it has no OpenH264: VP8 is the only one that is taken.
FIREFOX_WITHOUT_H264 = f"""\
v=0
o=mozilla...THIS_IS_SDPARTA-99.0 1548988533063712525 0 IN IP4 0.0.0.0
s=-
t=0 0
a=fingerprint:sha-256 {FINGERPRINT}
a=sendrecv
a=group:BUNDLE 0
a=ice-options:trickle
a=msid-semantic:WMS *
m=video 37311 UDP/TLS/RTP/SAVPF 120 124 121 125 99 100 123 122 119
c=IN IP4 192.0.2.7
a=candidate:0 1 UDP 2122252543 192.0.2.7 37311 typ host
a=candidate:1 1 TCP 2105524479 192.0.2.7 9 typ host tcptype active
a=candidate:0 2 UDP 2122252542 192.0.2.7 60340 typ host
a=candidate:1 2 TCP 2105524478 192.0.2.7 9 typ host tcptype active
a=sendrecv
a=end-of-candidates
a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:5 urn:ietf:params:rtp-hdrext:toffset
a=extmap:6/recvonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
a=extmap:7 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap-allow-mixed
a=fmtp:120 max-fs=12288;max-fr=60
a=fmtp:124 apt=120
a=fmtp:121 max-fs=12288;max-fr=60
a=fmtp:125 apt=121
a=fmtp:100 apt=99
a=fmtp:119 apt=122
a=ice-pwd:c401e7508b2c82f25e1571d4229f45d8
a=ice-ufrag:1749c634
a=mid:0
a=msid:{{72abd67b}} {{f119ef4c}}
a=rtcp:60340 IN IP4 192.0.2.7
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:120 VP8/90000
a=rtpmap:124 rtx/90000
a=rtpmap:121 VP9/90000
a=rtpmap:125 rtx/90000
a=rtpmap:99 AV1/90000
a=rtpmap:100 rtx/90000
a=rtpmap:123 ulpfec/90000
a=rtpmap:122 red/90000
a=rtpmap:119 rtx/90000
a=setup:actpass
a=ssrc:1981248469 cname:{{e9e56008}}
a=ssrc:1011066522 cname:{{e9e56008}}
a=ssrc-group:FID 1981248469 1011066522
"""

CLIENTS = {
    "plain": PLAIN,
    "Safari": SAFARI,
    "OBS": OBS,
    "GStreamer": GSTREAMER,
    "Firefox": FIREFOX,
    "FFmpeg": FFMPEG,
    "werift 0.24": WERIFT,
    "webrtcbin 1.22": WEBRTCBIN,
    "Firefox 153 without H.264": FIREFOX_WITHOUT_H264,
}
