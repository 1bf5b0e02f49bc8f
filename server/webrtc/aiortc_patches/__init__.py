"""Patches of aiortc: places where this server reaches behind the public names of aiortc 1.16 and aioice 0.13.

Look here at each upgrade: tests of the same names fail where a place has moved.

| file | reaches into | upstream | can go when there is |
| --- | --- | --- | --- |
| bitrate | `RTCRtpSender.__encoder`, `h264.MIN_BITRATE` | aiortc issue 402 | a limit of a sender's bitrate |
| decoding | `RTCRtpReceiver.__decoder_queue`, `__decoder_thread` | none found | a bound of queue and size |
| encoding | `aiortc.codecs.Vp8Encoder` | to report | a conversion in one thread |
| jitter_buffer | `RTCRtpReceiver.__jitter_buffer` | none found | heed of the RTP marker |
| packet_limits | `_handle_...` and `_receive_...` of DTLS and SCTP transports | to be reported | limits |
| loss_recovery | `RTCRtpReceiver._send_rtcp_nack`, `_send_rtcp_pli` | none found | NACK and PLI by a timer |
| rate_counter | `aiortc.rate.RateCounter` | to report | a counter that costs nothing until it counts |
| sources | `RTCDtlsTransport._rx_srtp` | none found | a bound of sources |
| udp_ports | the loop's `create_datagram_endpoint` | aioice issue 47, pull request 112 | a range of ports |
| candidate_addresses | `Connection._add_remote_candidate` | to report | a rule of addresses to try |
| consent | `Connection.query_consent`, `_nominated` | none found; FFmpeg is at fault | a hook for consent |
| datagrams | `StunProtocol.datagram_received` | to report, to both | a check of length and of attributes |
| connecting | `RTCPeerConnection.__connect` | to report | an end of connecting tasks in `close` |
| dtls | `RTCCertificate._create_ssl_context`, `RTCDtlsTransport._ssl` | to report | RSA; alerts in the log |
| ice_restart | `RTCIceTransport._connection`, `_recv`, `_send` | aiortc issue 211 | an ICE restart |
"""
