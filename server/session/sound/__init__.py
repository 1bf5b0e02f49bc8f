"""Sound of a session: the publisher's, unchanged, and as late as the pictures that are shown with it.

webrtc or websocket -> SoundPackets (coded, by time) -> DelayedSound (in a thread) -> blocks of 20 ms
"""
