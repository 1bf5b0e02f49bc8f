"""Numbers that other tests take from the source by name, and would follow wherever they went.

Change one here and in ARCHITECTURE.md or PROTOCOL.md, if it is told there.
"""

import importlib

import pytest

# What a stranger can make grow, and what becomes of who sends too much.
SIZES = {
    "server.app": {"MAX_BODY_BYTES": 64 << 10},
    "server.engine.scheduler": {"KEPT": 3},
    "server.engine.thread": {"PACES_KEPT": 15},
    "server.http.request_limits": {"SMALL_BODY_BYTES": 64 << 10},
    "server.http.session_api": {"UPLOADS_PER_SECOND": 2.0, "SNAPSHOTS_PER_SECOND": 4.0},
    "server.media.bitrate": {
        "CEILINGS_BPS": {"low": 500_000, "medium": 1_000_000, "high": 3_000_000},
        "BITS_PER_PIXEL": {"low": 0.1, "medium": 0.3, "high": 0.8},
    },
    "server.media.coded_size": {"MAX_SPS": 32, "MAX_SPS_BYTES": 1024, "MAX_CROP": 32},
    "server.media.frames": {"MAX_CAMERA_PIXELS": 2560 * 1440, "MAX_CAMERA_ASPECT": 8},
    "server.media.images": {
        "MAX_IMAGE_BYTES": 8 << 20,
        "MAX_IMAGE_PIXELS": 24_000_000,
        "MIN_SIDE": 16,
        "MAX_ASPECT": 8,
        "KEPT_SIDE": 1280,
        "KEPT_IMAGES": 16,
    },
    "server.media.jpeg": {"QUALITIES": {"low": 55, "medium": 75, "high": 88}},
    "server.media.rtp_decoder": {"MAX_DECODED_PIXELS": 2560 * 1440 * 11 // 10},
    "server.media.recording": {"WAITING_PICTURES": 12},
    "server.media.recording_store": {
        "MAX_FILES_OF_SESSION": 20,
        "MAX_FILES": 1000,
        "FREE_BYTES": 256 << 20,
    },
    "server.placement.admission": {"MAX_WAITING": 100, "MAX_WAITING_OF_ONE": 20, "MAX_UNUSED": 1000},
    "server.placement.table": {
        "MAX_LOST": 10_000,
        "MAX_WORKERS": 4096,
        "MAX_PLACES": 1024,
        "MAX_SESSIONS": 2048,
    },
    "server.placement.lease_tokens": {"MAX_TOKEN_LENGTH": 4096, "MAX_USED": 10_000},
    "server.protocol.codec": {"MAX_MESSAGE_BYTES": 32 << 10, "MAX_MESSAGES_PER_SECOND": 50.0},
    "server.protocol.requests": {"LONGEST_S": 86_400.0, "MAX_TIMELINE_STEPS": 64, "MAX_KEYFRAMES": 64},
    "server.session.camera": {"RING": 48},
    "server.session.channel": {"MAX_CLIENTS": 8},
    "server.session.chunk_planner": {"SEED_BITS": 31},
    "server.session.command_queue": {"KNOWN_IDS": 256},
    "server.session.control_preview": {"MAX_BYTES": 4096, "QUALITIES": (70, 45, 25, 10)},
    "server.session.generation": {"MAX_FAILURES": 5},
    "server.session.message_limit": {
        "MAX_BYTES_PER_SECOND": 256 << 10,
        "MOST_REFUSED": 200,
        "FORGIVEN_PER_SECOND": 10.0,
    },
    "server.transport.address_limits": {"IPV6_PREFIX": 64, "MAX_REMEMBERED": 10_000},
    "server.webrtc.peer": {
        "MAX_NEEDLESS_CHANNELS": 16,
        "MAX_UNREAD_CONTROL_BYTES": 1 << 20,
        "MAX_UNREAD_TELEMETRY_BYTES": 16 << 10,
    },
    "server.webrtc.trickle": {"MAX_LINES": 256, "MAX_CANDIDATES": 64, "MAX_FORMER": 16},
    "server.webrtc.aiortc_patches.packet_limits": {
        "MEDIA_PER_SECOND": 5000.0,
        "FEEDBACK_PER_SECOND": 500.0,
        "DATA_PER_SECOND": 1000.0,
        "MAX_HELD_BYTES": 256 << 10,
        "MAX_HELD_CHUNKS": 512,
        "MAX_STREAMS": 256,
    },
    "server.webrtc.aiortc_patches.decoding": {"MAX_WAITING": 32},
    "server.webrtc.aiortc_patches.jitter_buffer": {"CAPACITY": 512},
    "server.webrtc.aiortc_patches.sources": {"MAX_SOURCES": 16},
    "server.websocket.flow_control": {"MOST_AHEAD": 16},
    "server.websocket.media_frame": {
        "MAX_PAYLOAD_BYTES": 512 << 10,
        "MOST_SKIPPED": 2**16 - 1,
        "MAX_TIMESTAMP_US": 2**53 - 1,
    },
    "server.websocket.peer": {
        "CODEC_REQUESTS_PER_SECOND": 5.0,
        "UNREAD_TELEMETRY": 4,
        "MAX_REASON_BYTES": 123,
    },
    "server.websocket.receiver": {"UPLOAD_WINDOW": 3, "COMPLAINTS_PER_S": 1.0},
    "server.websocket.socket_writer": {"UNREAD_MESSAGES": 256},
}
# How long somebody waits, in seconds: for who is silent, for who does not close, for the next news.
TIMES = {
    "server.app": {"DISMISS_TIMEOUT_S": 3.0, "SHUTDOWN_TIMEOUT_S": 1.0},
    "server.engine.client": {"JOIN_TIMEOUT_S": 3.0},
    "server.restart": {"NOTICE_S": 1.0, "PERIOD_S": 60.0},
    "server.tracing": {"JOIN_TIMEOUT_S": 3.0},
    "server.engine.thread": {"PROGRESS_LOG_PERIOD_S": 5.0, "SWITCH_INTERVAL_S": 1e-4},
    "server.http.request_limits": {"SMALL_BODY_S": 10.0, "LARGE_BODY_S": 30.0, "BURST_S": 10.0},
    "server.http.socket_limits": {"SILENCE_S": 30.0},
    "server.http.session_api": {"BODY_TIMEOUT_S": 30.0},
    "server.media.margin": {"TOLERATED_S": 0.05, "MOST_S": 0.5},
    "server.media.pacing": {"LATE_LIMIT_S": 0.1},
    "server.media.recording": {"NEWS_PERIOD_S": 1.0, "CLOCK_SLACK_S": 0.25},
    "server.media.recording_store": {"JOIN_TIMEOUT_S": 3.0, "FETCH_S": 600.0, "SWEEP_PERIOD_S": 60.0},
    "server.memory": {"PERIOD_S": 30.0},
    "server.metrics": {"STALL_PERIOD_S": 0.02, "RATE_WINDOW_S": 2.0},
    "server.placement.admission": {"PRESENT_S": 10.0, "FORGOTTEN_S": 75.0, "UNUSED_S": 60.0},
    "server.placement.port": {"HEARTBEAT_S": 1.0, "SILENT_S": 4.0, "LEASE_S": 20.0},
    "server.placement.table": {"HELD_S": 24.0, "LOST_S": 60.0},
    "server.session.camera": {"REACH_S": 1.6},
    "server.session.camera_clock": {"LOST_S": 0.5},
    "server.session.idle": {"MOST_BETWEEN_S": 2.0},
    "server.session.message_limit": {"TOLD_EVERY_S": 1.0},
    "server.session.parameters": {"TRACK_PERIOD_S": 0.05},
    "server.session.playout": {"PASSTHROUGH_SPACING_S": 1 / 15, "HOLD_SPACING_S": 0.5},
    "server.session.session": {"TELEMETRY_PERIOD_S": 0.5, "SILENCE_S": 2.0},
    "server.session.settings_notifier": {"DELAY_S": 0.1},
    "server.webrtc.aiortc_patches.bitrate": {"REST_S": 2.0, "RISE_AFTER_S": 4.0},
    "server.webrtc.aiortc_patches.ice_restart": {"REST_S": 2.0, "LINGER_S": 2.0},
    "server.webrtc.aiortc_patches.loss_recovery": {
        "LOOK_PERIOD_S": 0.02,
        "NACK_AGAIN_S": 0.06,
        "GIVE_UP_S": 0.3,
        "PLI_AGAIN_S": 0.5,
    },
    "server.webrtc.connection": {"WATCH_PERIOD_S": 0.5, "CLOSE_TIMEOUT_S": 5.0},
    "server.webrtc.whip": {"RETRY_AFTER_S": 2},
    "server.websocket.control": {"HEARTBEAT_S": 20.0, "POLL_S": 0.5, "CLOSE_TIMEOUT_S": 1.0},
    "server.websocket.endpoint": {"HEARTBEAT_S": 20.0, "CLOSE_TIMEOUT_S": 1.0},
    "server.websocket.peer": {"WATCH_PERIOD_S": 0.5, "CLOSE_TIMEOUT_S": 2.0},
    "server.websocket.receiver": {"USUAL_FPS": 60.0, "FASTEST": 2.0},
    "server.websocket.socket_writer": {"SEND_TIMEOUT_S": 5.0},
}
# What clients compare with: PROTOCOL.md has them.
WIRE = {
    "server.websocket.endpoint": {"NO_LEASE": 4403, "GONE": 4404, "FULL": 4503, "NO_MODEL": 4500},
    "server.websocket.media_frame": {"VERSION": 1},
    "server.websocket.peer": {"ENDED": 1000, "KEPT": 4000},
}


@pytest.mark.parametrize("table", [SIZES, TIMES, WIRE], ids=["sizes", "times", "wire"])
def test_law_every_bound_is_the_one_that_was_agreed(table):
    found = {
        module: {name: getattr(importlib.import_module(module), name) for name in names}
        for module, names in table.items()
    }
    assert found == table
