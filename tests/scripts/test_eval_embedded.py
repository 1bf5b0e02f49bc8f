"""The figures that the built-in model must keep, on a few clips and with a margin for their small number.

`python -m scripts.eval_embedded --full` measures them properly.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scripts.embedded.judging import QUICK, Finding, Row, Subject
from scripts.embedded.live_trials import try_depth_net
from scripts.embedded.looks import LOOKS
from scripts.embedded.trials import try_guidance, try_looks, try_switches
from scripts.eval_embedded import load_subject, table
from streaming.presets import EMBEDDED

# A chunk takes up to a second on two slow cores.
SMALL = replace(
    QUICK,
    looks=LOOKS[::4],
    scenes=1,
    other_columns_every=1000,
    switches=1,
    guided_clips=1,
    depth_scenes=12,
)


@pytest.fixture(scope="module")
def subject() -> Iterator[Subject]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two that wait for each other on a busy machine take ten times as long
    yield load_subject(EMBEDDED.folder or Path("none"), device="cpu")
    torch.set_num_threads(threads)


def require(finding: Finding, least: dict[str, float]) -> None:
    """The figure whose name begins so is at least that large."""
    for name, limit in least.items():
        (row,) = (row for row in finding.rows if row.name.startswith(name))
        assert row.value is not None and row.value >= limit, f"{row.name} >= {limit}:\n{table(finding.rows)}"


@pytest.mark.slow
@pytest.mark.skipif(EMBEDDED.folder is None, reason="the built-in model is not trained yet")
class TestBuiltInModel:
    def test_paints_looks_that_are_known_again_sharply_and_over_the_depth(self, subject: Subject) -> None:
        least = {"look accuracy": 0.85, "depth read off": 0.93, "sharpness (": 0.7, "PSNR": 20}
        require(try_looks(subject, SMALL), {"probe: look accuracy": 0.97} | least)

    def test_switches_looks(self, subject: Subject) -> None:
        found = {row.name: row.value for row in try_switches(subject, SMALL).rows}
        for transition in ("recache", "cut"):
            value = found[f"switch by {transition}: accuracy in chunk 3"]
            assert value is not None and value >= 0.8, found

    def test_follows_depth_the_more_the_stronger_the_guidance(self, subject: Subject) -> None:
        (row,) = try_guidance(subject, SMALL).rows
        assert row.passed, row

    def test_its_depth_net_sees_depth(self, subject: Subject) -> None:
        require(try_depth_net(subject, SMALL), {"depth net: correlation": 0.92})


def test_the_table_says_what_failed() -> None:
    rows = [
        Row("look accuracy", 0.97, 0.95, note="30 clips"),
        Row("seam", 1.41, 1.3, at_most=True),
        Row("chunk p50", 612.3, unit="ms"),
        Row("order of points", None, 0.85, note="not run: no av"),
    ]
    assert [line.split() for line in table(rows).splitlines()[1:]] == [
        ["look", "accuracy", ">=", "0.95", "0.970", "pass", "30", "clips"],
        ["seam", "<=", "1.3", "1.410", "FAIL"],
        ["chunk", "p50", "612.3", "ms"],
        ["order", "of", "points", ">=", "0.85", "-", "not", "run:", "no", "av"],
    ]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*--model-folder"):
        load_subject(tmp_path, device="cpu")
