from server.media.bitrate import CEILINGS_BPS, vp8_bitrate


def test_the_bitrate_grows_with_picture_and_quality_up_to_the_ceilings():
    large, small = (1280, 720), (256, 144)
    assert [vp8_bitrate(*large, quality) for quality in CEILINGS_BPS] == list(CEILINGS_BPS.values())
    low, medium, high = [vp8_bitrate(*small, quality) for quality in ("low", "medium", "high")]
    assert low < medium < high < 1_000_000
