"""Pulls against a hub on loopback: whole, pinned, continued, and with words for all that goes wrong."""

import errno
import json
import logging
import random
import socket
import threading
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from transformers import ByT5Tokenizer

from streaming.checkpoints.models import random_models
from streaming.checkpoints.presets import PRESETS
from streaming.checkpoints.remote_files import REMOTE_FILES, RemoteFile
from streaming.config import PipelineConfig, TaehvConfig
from streaming.hub import transfer as hub_transfer
from streaming.hub.errors import explained
from streaming.hub.pull import HubError, Progress, inventory, pull, readable, verify
from streaming.modules.taehv import TAEHV
from streaming.modules.text_encoder import to_wan_keys
from streaming.modules.wan_vae import WanVaeConfig
from tests.streaming.hub_stand_in import MAIN, MOVED, Hub, digest_of, running_hub, use_endpoint
from tests.streaming.tiny_preset import tiny_preset

MB = 2**20
REPO, OTHER = "studio/generator", "studio/extras"


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


BASE, VAE, STRANGER = noise(0, 5 * MB // 2), noise(1, 40_000), noise(2, 2000)
WORDS = {"words/rules.json": b'{"a": 1}', "words/pieces.model": noise(3, 3000)}
TOY = (
    RemoteFile(REPO, "models/base.pt", "main", "generator_path"),
    RemoteFile(OTHER, "words/*", "main", "tokenizer_path"),
    RemoteFile(OTHER, "vae.pth", "main", "vae_path"),
)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's token, nobody's switches, and no patience."""
    monkeypatch.setitem(REMOTE_FILES, "toy", TOY)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_transfer, "RETRY_WAIT_S", 0.01)
    monkeypatch.setattr(hub_transfer, "PROGRESS_EVERY_S", 0.0)


@pytest.fixture(scope="module")
def server():
    with running_hub() as hub:
        yield hub


@pytest.fixture
def hub(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    server.reset()
    server.put(REPO, {"models/base.pt": BASE, "models/huge.pt": STRANGER})
    server.put(OTHER, {**WORDS, "vae.pth": VAE, "README.md": b"hello"})
    use_endpoint(monkeypatch, server.url)
    return server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_pull_brings_the_files_of_the_preset_and_no_other(hub: Hub, cache: Path):
    paths = pull("toy", cache_dir=cache)
    assert paths["generator_path"].read_bytes() == BASE
    assert paths["vae_path"].read_bytes() == VAE
    folder = paths["tokenizer_path"]
    assert {f"words/{file.name}": file.read_bytes() for file in folder.iterdir()} == WORDS
    assert hub.bytes_sent == len(BASE) + len(VAE) + sum(map(len, WORDS.values()))
    assert not list(cache.rglob("*.incomplete"))


def test_files_of_one_role_stand_for_their_folder(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch):
    files = tuple(RemoteFile(OTHER, path, "main", "depth") for path in WORDS)
    monkeypatch.setitem(REMOTE_FILES, "toy", files)
    folder = pull("toy", cache_dir=cache)["depth"]
    assert sorted(file.name for file in folder.iterdir()) == ["pieces.model", "rules.json"]


def test_second_pull_asks_nobody(hub: Hub, cache: Path):
    paths = pull("toy", cache_dir=cache)
    hub.requests.clear()
    assert pull("toy", cache_dir=cache) == paths
    assert pull("toy", cache_dir=cache, offline=True) == paths
    assert not hub.requests


def test_preset_without_files_needs_nothing(cache: Path):
    assert pull("embedded", cache_dir=cache, offline=True) == {}
    assert verify("embedded", cache_dir=cache) == []
    assert inventory("embedded", cache_dir=cache) == []


def test_cut_connection_is_taken_up_where_it_broke(hub: Hub, cache: Path):
    hub.cuts = [MB, MB]
    assert pull("toy", cache_dir=cache)["generator_path"].read_bytes() == BASE
    ranges = [request.range for request in hub.downloads if request.path.endswith(digest_of(BASE))]
    assert ranges == ["bytes=0-", f"bytes={MB}-", f"bytes={2 * MB}-"]


def test_line_that_breaks_often_but_brings_something_gets_there(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub_transfer, "BLOCK", MB // 4)
    hub.cuts = [MB // 4] * 2 * hub_transfer.ATTEMPTS
    assert pull("toy", cache_dir=cache)["generator_path"].read_bytes() == BASE


def test_interrupted_pull_goes_on_in_the_next_one(hub: Hub, cache: Path):
    def stop(progress: Progress) -> None:
        if progress.done >= MB:
            raise InterruptedError

    with pytest.raises(HubError):
        pull("toy", cache_dir=cache, on_progress=stop)
    [state] = [state for state in inventory("toy", cache_dir=cache) if state.file == "models/base.pt"]
    assert state.here == MB
    hub.requests.clear()
    assert pull("toy", cache_dir=cache)["generator_path"].read_bytes() == BASE
    [first] = [request for request in hub.downloads if request.path.endswith(digest_of(BASE))]
    assert first.range == f"bytes={MB}-"


def test_exception_of_the_listener_ends_the_pull_as_it_is(hub: Hub, cache: Path):
    def stop(progress: Progress) -> None:
        raise RuntimeError("the loop is closed")

    with pytest.raises(RuntimeError, match="the loop is closed"):
        pull("toy", cache_dir=cache, on_progress=stop)


def test_server_that_knows_no_ranges_begins_anew(hub: Hub, cache: Path):
    hub.cuts, hub.ranges = [MB], False
    assert pull("toy", cache_dir=cache)["generator_path"].read_bytes() == BASE


def test_passing_trouble_passes(hub: Hub, cache: Path):
    hub.busy = 3
    assert pull("toy", cache_dir=cache)["generator_path"].read_bytes() == BASE


def test_connection_that_brings_nothing_more_is_given_up(hub: Hub, cache: Path):
    hub.cuts = [MB] + [0] * 20
    with pytest.raises(HubError, match="What has arrived is kept; pull again"):
        pull("toy", cache_dir=cache)
    assert len(hub.cuts) == 20 - hub_transfer.ATTEMPTS + 1


def test_branch_is_pinned_by_the_first_pull(hub: Hub, cache: Path):
    old = pull("toy", cache_dir=cache)["generator_path"]
    hub.put(REPO, {"models/base.pt": STRANGER}, commit=MOVED)
    hub.branches["main"] = MOVED
    old.resolve().unlink()
    again = pull("toy", cache_dir=cache)["generator_path"]
    assert again == old
    assert again.read_bytes() == BASE
    lock = json.loads((cache / ".locks" / "depthlive.json").read_text())
    assert [file["commit"] for file in lock[f"{REPO}@main"]] == [MAIN]


def test_file_added_to_a_preset_comes_from_the_pinned_commit(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    pull("toy", cache_dir=cache)
    hub.branches["main"] = MOVED
    monkeypatch.setitem(REMOTE_FILES, "toy", (*TOY, RemoteFile(REPO, "models/huge.pt", "main", "taehv_path")))
    assert pull("toy", cache_dir=cache)["taehv_path"].read_bytes() == STRANGER


def test_presets_that_share_a_repository_keep_their_pins(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    paths = pull("toy", cache_dir=cache)
    file = RemoteFile(REPO, "models/huge.pt", "main", "generator_path")
    monkeypatch.setitem(REMOTE_FILES, "another", (file,))
    pull("another", cache_dir=cache)
    assert pull("toy", cache_dir=cache, offline=True) == paths


def test_damaged_lock_file_is_told(hub: Hub, cache: Path):
    pull("toy", cache_dir=cache)
    (cache / ".locks" / "depthlive.json").write_text("{")
    with pytest.raises(HubError, match=r"depthlive\.json is damaged .* delete it and pull again"):
        pull("toy", cache_dir=cache)


@pytest.mark.parametrize("before", ["nothing", "one file lost"])
def test_offline_says_what_to_do(hub: Hub, cache: Path, before: str):
    if before == "one file lost":
        pull("toy", cache_dir=cache)["vae_path"].unlink()
    hub.requests.clear()
    state = "has not been pulled into" if before == "nothing" else "is not complete in"
    with pytest.raises(HubError, match=rf"toy {state} .*cache.*offline.*depthlive models pull toy"):
        pull("toy", cache_dir=cache, offline=True)
    assert not hub.requests


def test_the_librarys_own_switch_means_offline_too(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="this run is offline"):
        pull("toy", cache_dir=cache)


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (404, "RepoNotFound", r"/studio/generator does not exist \(404\)"),
        (404, "RevisionNotFound", "/studio/generator has no revision main"),
        (403, "GatedRepo", "is gated: accept its terms there, log in with `hf auth login`"),
        (401, None, r"refuses access \(401\).*log in with `hf auth login` or correct HF_TOKEN"),
        (401, "RepoNotFound", r"refuses access \(401\)"),
        (403, None, r"refuses access \(403\)"),
        (429, None, r"asked too often \(429\)"),
        (500, None, "answered 500: the hub has trouble"),
    ],
)
def test_refusals_are_told_in_words(hub: Hub, cache: Path, status: int, code: str | None, told: str):
    hub.refuse = (status, code)
    with pytest.raises(HubError, match=told):
        pull("toy", cache_dir=cache)


def test_file_that_the_hub_does_not_have_is_named(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(REMOTE_FILES, "toy", (RemoteFile(REPO, "models/new.pt", "main", "lora_path"),))
    with pytest.raises(HubError, match=r"/studio/generator has no file models/new\.pt at revision main"):
        pull("toy", cache_dir=cache)


def test_file_that_vanishes_after_it_was_pinned_is_named(hub: Hub, cache: Path):
    pull("toy", cache_dir=cache)["vae_path"].unlink()
    del hub.files[OTHER, MAIN]["vae.pth"]
    with pytest.raises(HubError, match=rf"/studio/extras has no file vae\.pth at revision {MAIN}"):
        pull("toy", cache_dir=cache)


def test_page_of_a_captive_portal_is_no_hub(hub: Hub, cache: Path):
    hub.html = True
    with pytest.raises(HubError, match="does not answer as a hub does; check HF_ENDPOINT and proxies"):
        pull("toy", cache_dir=cache)


def test_no_network_is_told_at_once(cache: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        use_endpoint(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"waited {seconds} s"))
        with pytest.raises(HubError, match=r"cannot reach http://127.*Connection refused.*check the network"):
            pull("toy", cache_dir=cache)


def test_unknown_preset_names_the_known(cache: Path):
    with pytest.raises(HubError, match="no preset 'nope'; presets: embedded, longlive-1.3b, toy"):
        pull("nope", cache_dir=cache)


def test_token_reaches_the_hub_alone_and_no_log(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull("toy", cache_dir=cache)
    hub.refuse = (401, None)
    with pytest.raises(HubError) as refused:
        pull("toy", cache_dir=cache.with_name("another"))
    assert all(
        request.token == (None if request.path.startswith("/cdn") else "Bearer hf_secret")
        for request in hub.requests
    )
    assert "hf_secret" not in caplog.text + str(refused.value)


@pytest.mark.parametrize("wrong", [{"size": 7}, {"sha256": "0" * 64}])
def test_file_other_than_the_published_one_is_refused_before_it_is_fetched(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, int | str]
):
    right = replace(TOY[0], size=len(BASE), sha256=digest_of(BASE))
    monkeypatch.setitem(REMOTE_FILES, "toy", (replace(right, **wrong),))
    with pytest.raises(HubError, match=r"base\.pt .* not the file this version was made for: (size|sha256)"):
        pull("toy", cache_dir=cache)
    assert not hub.downloads
    monkeypatch.setitem(REMOTE_FILES, "toy", (right,))
    assert pull("toy", cache_dir=cache)["generator_path"].read_bytes() == BASE


def test_file_damaged_on_the_way_never_reaches_the_cache(hub: Hub, cache: Path):
    hub.damage = True
    with pytest.raises(HubError, match=rf"base\.pt of {REPO} arrived damaged.*pull again"):
        pull("toy", cache_dir=cache)
    assert not [path for path in (cache / "models--studio--generator").rglob("*") if path.is_file()]
    hub.damage = False
    assert pull("toy", cache_dir=cache)["generator_path"].read_bytes() == BASE


def test_file_of_the_wrong_size_is_fetched_again(hub: Hub, cache: Path):
    path = pull("toy", cache_dir=cache)["generator_path"]
    path.resolve().write_bytes(BASE[:-1])
    assert pull("toy", cache_dir=cache)["generator_path"].read_bytes() == BASE


def test_verify_finds_what_is_missing_short_or_changed(hub: Hub, cache: Path):
    assert "has not been pulled" in verify("toy", cache_dir=cache)[0].text
    paths = pull("toy", cache_dir=cache)
    assert verify("toy", cache_dir=cache, keys=False) == []
    paths["vae_path"].unlink()
    base = paths["generator_path"].resolve()
    base.write_bytes(BASE[:-1] + bytes([BASE[-1] ^ 1]))
    small = (paths["tokenizer_path"] / "rules.json").resolve()
    small.write_bytes(b'{"a": 2}')
    (paths["tokenizer_path"] / "pieces.model").resolve().write_bytes(b"short")
    hub.requests.clear()
    told = {problem.file: problem.text for problem in verify("toy", cache_dir=cache)}
    assert told["vae.pth"] == "is missing: run `depthlive models pull toy`"
    assert told["words/pieces.model"].startswith("is damaged, 5 bytes instead of 3000: run")
    for file, path in {"models/base.pt": base, "words/rules.json": small}.items():
        assert "is damaged, digest" in told[file]
        assert f"delete {path} and run `depthlive models pull toy`" in told[file]
        path.unlink()
    assert not hub.requests
    pull("toy", cache_dir=cache)
    assert verify("toy", cache_dir=cache, keys=False) == []


def test_full_disk_is_told_with_numbers_before_anything_is_fetched(hub: Hub, cache: Path):
    needed = len(BASE) + len(VAE) + sum(map(len, WORDS.values()))
    asked: list[Path] = []

    def free(folder: Path) -> int:
        asked.append(folder)
        return 100_000

    told = f"{readable(needed)} still to download, 0.10 MB free. Free {readable(needed - 100_000)}"
    with pytest.raises(HubError, match=f"not enough disk space in .*cache: {told}, or set HF_HOME"):
        pull("toy", cache_dir=cache, free_bytes=free)
    assert asked == [cache]
    assert not hub.downloads
    assert pull("toy", cache_dir=cache, free_bytes=lambda folder: needed)


def test_space_for_what_is_here_already_is_not_asked_for(hub: Hub, cache: Path):
    hub.cuts = [MB] + [0] * hub_transfer.ATTEMPTS
    with pytest.raises(HubError):
        pull("toy", cache_dir=cache)
    hub.cuts = []
    rest = len(BASE) - MB + len(VAE) + sum(map(len, WORDS.values()))
    with pytest.raises(HubError, match="not enough disk space"):
        pull("toy", cache_dir=cache, free_bytes=lambda folder: rest - 1)
    assert pull("toy", cache_dir=cache, free_bytes=lambda folder: rest)


def test_disk_that_becomes_full_is_told():
    with pytest.raises(
        HubError, match=r"disk became full while base\.pt was written; what has arrived is kept"
    ):
        with explained(REPO, "base.pt"):
            raise OSError(errno.ENOSPC, "No space left on device")


def test_cache_that_cannot_be_written_is_told(hub: Hub, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HubError, match="the cache cannot be used .*set HF_HOME"):
        pull("toy", cache_dir=tmp_path / "file" / "cache")


def test_progress_counts_every_byte_once(hub: Hub, cache: Path):
    hub.cuts = [MB]
    seen: list[Progress] = []
    pull("toy", cache_dir=cache, on_progress=seen.append)
    total = len(BASE) + len(VAE) + sum(map(len, WORDS.values()))
    assert {progress.all_total for progress in seen} == {total}
    assert [progress.all_done for progress in seen] == sorted(progress.all_done for progress in seen)
    assert seen[-1].all_done == total
    for stage in ("download", "check"):
        finished = {event.file for event in seen if event.stage == stage and event.done == event.total}
        assert finished == {"models/base.pt", "vae.pth", *WORDS}
    assert seen[0].describe() == f"downloading base.pt: 1.05 MB of 2.62 MB ({100 * MB // total} % of 2.66 MB)"


def test_verify_tells_progress(hub: Hub, cache: Path):
    pull("toy", cache_dir=cache)
    seen: list[Progress] = []
    verify("toy", cache_dir=cache, on_progress=seen.append, keys=False)
    assert {event.stage for event in seen} == {"check"}
    assert seen[-1].all_done == seen[-1].all_total


def test_progress_is_told_no_oftener_than_it_can_be_read(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub_transfer, "PROGRESS_EVERY_S", 3600.0)
    seen: list[Progress] = []
    pull("toy", cache_dir=cache, on_progress=seen.append)
    ends = [event for event in seen if event.done == event.total]
    assert len(ends) == 2 * 4  # each stage of each file is told to its end
    assert len(seen) <= len(ends) + 1


def test_two_pulls_at_once_fetch_everything_once(hub: Hub, cache: Path):
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(pull("toy", cache_dir=cache))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    assert hub.bytes_sent == len(BASE) + len(VAE) + sum(map(len, WORDS.values()))


def test_inventory_knows_what_is_here(hub: Hub, cache: Path):
    assert [(state.file, state.size, state.here) for state in inventory("toy", cache_dir=cache)] == [
        ("models/base.pt", None, 0),
        ("words/*", None, 0),
        ("vae.pth", None, 0),
    ]
    pull("toy", cache_dir=cache)["vae_path"].unlink()
    here = {state.file: (state.size, state.here) for state in inventory("toy", cache_dir=cache)}
    assert here.pop("vae.pth") == (len(VAE), 0)
    assert here == {
        file: (len(content), len(content)) for file, content in {"models/base.pt": BASE, **WORDS}.items()
    }


def test_catalogue_fits_the_engine():
    """Every preset has an entry, and what it pulls is what the pipeline is configured with."""
    keys = {field.name for field in fields(PipelineConfig)}
    for name, preset in PRESETS.items():
        roles = {file.role for file in REMOTE_FILES[name]}
        assert roles - {"depth"} <= keys
        required = {"generator_path", "vace_path", "text_encoder_path", "tokenizer_path", "vae_path"}
        assert required <= roles or not preset.needs_files


TINY = tiny_preset("toy", WanVaeConfig(dim=4))


@pytest.fixture
def published(tmp_path: Path) -> dict[str, bytes]:
    """Random weights of TINY in the published layouts."""
    models = random_models(TINY, device=torch.device("cpu"), dtype=torch.float32)
    state = models.transformer.state_dict()
    main = {f"model.{key}": value for key, value in state.items() if not key.startswith("vace_")}
    torch.save({"generator": main}, tmp_path / "base.pt")
    save_file({key: v for key, v in state.items() if key.startswith("vace_")}, tmp_path / "vace.safetensors")
    text = to_wan_keys(models.text_encoder.model.state_dict())
    save_file({key: value.clone() for key, value in text.items()}, tmp_path / "text.safetensors")
    torch.save(models.autoencoder.state_dict(), tmp_path / "vae.pth")
    save_file(TAEHV(TaehvConfig()).state_dict(), tmp_path / "taehv.safetensors")
    ByT5Tokenizer().save_pretrained(tmp_path / "words")
    return {
        str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("fault", [None, "vae.pth", "taehv.safetensors"])
def test_verify_finds_a_file_that_the_models_cannot_take(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, published: dict[str, bytes], fault: str | None
):
    if fault:
        published[fault] = published["base.pt" if fault.endswith(".pth") else "vace.safetensors"]
    hub.put(REPO, published)
    monkeypatch.setitem(PRESETS, "toy", TINY)
    roles = {
        "base.pt": "generator_path",
        "vace.safetensors": "vace_path",
        "text.safetensors": "text_encoder_path",
        "words/*": "tokenizer_path",
        "vae.pth": "vae_path",
        "taehv.safetensors": "taehv_path",
    }
    files = tuple(RemoteFile(REPO, path, "main", role) for path, role in roles.items())
    monkeypatch.setitem(REMOTE_FILES, "toy", files)
    pull("toy", cache_dir=cache)
    problems = verify("toy", cache_dir=cache)
    assert bool(problems) == bool(fault)
    if fault:
        assert f"does not fit the model: {cache}" in problems[0].text
        assert fault in problems[0].text
