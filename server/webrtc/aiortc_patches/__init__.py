"""Places where this server reaches behind the public names of aiortc 1.16 and aioice 0.13.

Look here at each upgrade: the tests of the same names fail where a place has moved.

| file | what it reaches into | upstream | can go when |
| --- | --- | --- | --- |
| bitrate.py | `RTCRtpSender.__encoder.target_bitrate` | aiortc issue 402 (stale) | a sender's bitrate can be limited |
| jitter_buffer.py | `RTCRtpReceiver.__jitter_buffer`, fields of `JitterBuffer` | none found | the RTP marker ends a frame |
| udp_ports.py | `create_datagram_endpoint` of the loop, as aioice calls it | aioice issue 47 (open) | it takes a range |
| ice_restart.py | the aioice connection that `RTCIceGatherer` keeps | aiortc issue 211 (stale) | `restartIce` is there |
"""
