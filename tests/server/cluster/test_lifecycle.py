import pytest

from server.cluster.lifecycle import (
    UnusableCluster,
    change_to,
    check_settings,
    gpus_of_worker,
    worker_settings,
)
from server.cluster.placement_actor import PlacementMaker
from server.cluster.serve_gateway import GatewayPlan
from server.cluster.worker import WorkerPlan
from server.placement.table import PlacementTable
from server.settings import load_settings


def test_law_a_change_begins_what_is_missing_and_drains_the_newest():
    grown = change_to({"small": 3}, {"small.1": "small"})
    assert grown.begin == (("small.2", "small"), ("small.3", "small")) and grown.drain == ()
    there = {f"small.{number}": "small" for number in range(1, 12)}
    assert change_to({"small": 9}, there).drain == ("small.10", "small.11")


def test_law_presets_stand_side_by_side_and_one_that_is_not_named_stays():
    there = {"small.1": "small", "longlive-1.3b.2": "longlive-1.3b"}
    change = change_to({"small": 2}, there)
    assert change.begin == (("small.3", "small"),) and change.drain == ()


def test_a_number_that_is_free_is_taken_again():
    assert change_to({"small": 2}, {"small.2": "small"}).begin == (("small.1", "small"),)


def test_nothing_changes_where_all_is_as_wanted():
    change = change_to({"small": 1}, {"small.7": "small"})
    assert (change.begin, change.drain) == ((), ())


def test_a_worker_has_the_gateways_settings_on_a_port_of_its_own(tmp_path):
    asked = {"port": 9000, "public_prefix": "/live", "recordings_dir": tmp_path, "prompt": "clay"}
    settings = worker_settings(load_settings(asked), "m.1", "m")
    assert (settings.port, settings.public_prefix, settings.model, settings.prompt) == (0, "", "m", "clay")
    assert settings.recordings_dir == tmp_path / "m.1"  # each folder is one process's


def test_a_workers_sockets_are_open_to_the_gateways_page():
    asked = {"port": 9000, "allowed_hosts": ["live.example.org", "*.example.org"]}
    settings = worker_settings(load_settings(asked), "m.1", "m")
    origins = ("http://127.0.0.1:9000", "http://localhost:9000", "https://live.example.org")
    assert settings.allowed_origins == origins


@pytest.mark.parametrize(
    ("asked", "name"),
    [({"tls": "self-signed"}, "tls"), ({"port": 0}, "port"), ({"metrics_port": 1}, "metrics_port")],
)
def test_what_a_cluster_cannot_have_is_refused_by_name(asked, name):
    with pytest.raises(UnusableCluster, match=f"^{name}: "):
        check_settings(load_settings(asked))


def test_law_what_goes_to_other_processes_tells_its_secret_to_no_log():
    secret = b"a secret of the cluster"
    placement, settings = PlacementMaker(PlacementTable, secret), load_settings({})
    worker = WorkerPlan(id="m.1", settings=settings, secret=secret, placement=placement)
    gateway = GatewayPlan(settings=settings, secret=secret, placement=placement)
    for plan in (placement, worker, gateway):
        assert "of the cluster" not in repr(plan)


@pytest.mark.parametrize(
    ("asked", "there", "taken"),
    [
        ({}, [0, 0], 0),
        ({}, [0, 1], 1),
        ({"gpus": 2}, [1, 8], 2),
        ({"gpus": 2, "device": "cpu"}, [8], 0),
        ({"device": "cuda"}, [], 1),  # a machine that has one may still join
    ],
)
def test_a_worker_takes_so_many_gpus_of_one_machine(asked, there, taken):
    assert gpus_of_worker(load_settings(asked), there) == taken


@pytest.mark.parametrize(
    ("gpus", "there", "words"),
    [
        ("auto", [8], "how many of a machine's GPUs"),
        (2, [0, 0], "expected 1, for no machine of this cluster has a GPU, got 2"),
        (4, [2, 2], "expected at most 2, as many as one machine of this cluster has, got 4"),
    ],
)
def test_more_gpus_than_one_machine_has_are_refused(gpus, there, words):
    with pytest.raises(UnusableCluster, match=f"^gpus: .*{words}"):
        gpus_of_worker(load_settings({"gpus": gpus}), there)
