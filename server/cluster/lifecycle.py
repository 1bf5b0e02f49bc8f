"""Lifecycle of a cluster: its parts begun, their number changed while it serves, and ended."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING

from server.access.addresses import WILDCARDS, in_url, is_loopback
from server.access.hosts import check_bind
from server.access.tokens import Tokens
from server.cluster.placement_actor import PlacementMaker, RayPlacement, existing_placement
from server.cluster.placement_service import WorkerStatus
from server.cluster.ray_runtime import JOURNAL_PREFIX, NAMESPACE, PLACEMENT, NoCluster, ray_module
from server.cluster.serve_gateway import GatewayPlan, deploy, undeploy
from server.cluster.worker import WorkerPlan, begin_worker, stop_worker, worker_ids
from server.engine.thread import import_engine
from server.placement.free_places import Policy
from server.placement.table import PlacementTable
from server.settings import Settings

if TYPE_CHECKING:
    from streaming.engine import StreamEngine

SECRET_BYTES = 32
SECRET_S = 5.0  # for placement to tell it
LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")
NO_PLACEMENT = "address: Ray runs no cluster of depthlive; expected one that `depthlive cluster up` began"


class UnusableCluster(Exception):
    """A cluster cannot have these settings; the text names one, what is wrong and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """What a cluster is to have. `workers`: how many of each preset, by its name."""

    settings: Settings  # of the gateway; workers have the same, on ports of their own
    workers: Mapping[str, int]
    gateways: int = 1
    policy: Policy = "spread"
    import_engine: "Callable[[], type[StreamEngine]]" = import_engine


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done to the workers."""

    begin: tuple[tuple[str, str], ...]  # ids with their presets
    drain: tuple[str, ...]


def change_to(wanted: Mapping[str, int], there: Mapping[str, str]) -> Change:
    """From the workers that are there, presets by id, to as many of each preset as are wanted. Pure.

    A preset that is not named stays as it is. New ones get the lowest numbers that are free; of too many
    those with the highest are drained.
    """
    begin: list[tuple[str, str]] = []
    drain: list[str] = []
    for preset, count in wanted.items():
        have = sorted((id for id, of in there.items() if of == preset), key=_number)
        drain += have[count:]
        taken = set(map(_number, there)) | {_number(id) for id, _ in begin}
        free = (number for number in range(1, len(taken) + count + 1) if number not in taken)
        begin += [(f"{preset}.{next(free)}", preset) for _ in range(count - len(have))]
    return Change(tuple(begin), tuple(drain))


def _number(id: str) -> int:
    return int(id.rpartition(".")[2])


def preset_of(id: str) -> str:
    """Of a worker, by its id."""
    return id.rpartition(".")[0]


def worker_settings(settings: Settings, id: str, preset: str) -> Settings:
    """Of one worker: those of the gateway but for what is each process's own."""
    recordings = settings.recordings_dir
    return settings.model_copy(
        update={
            "port": 0,
            "model": preset,
            "public_prefix": "",
            "metrics_port": None,
            "recordings_dir": recordings / id if recordings is not None else None,
            "allowed_origins": (*settings.allowed_origins, *_origins_of(settings)),
            # The gateway tells whose request it hands on.
            "trusted_proxies": (*settings.trusted_proxies, *map(ip_network, LOOPBACK_NETWORKS)),
        }
    )


def _origins_of(settings: Settings) -> list[str]:
    """Of the gateway's page, whose WebSockets go to workers. An operator's proxy may end TLS before it."""
    names = [settings.host, "localhost"] if is_loopback(settings.host) else [settings.host]
    own = [f"http://{in_url(name)}:{settings.port}" for name in names if name not in WILDCARDS]
    others = [name for name in settings.allowed_hosts if not name.startswith("*")]
    return own + [f"https://{in_url(name)}" for name in others]


def check_settings(settings: Settings) -> None:
    """Raises UnusableCluster for what a cluster cannot do."""
    if settings.tls != "off" or settings.tls_cert is not None:
        raise UnusableCluster("tls: a cluster serves HTTP; expected a proxy in front of it that ends TLS")
    if settings.port == 0:
        raise UnusableCluster("port: expected the gateway's port, from 1 to 65535")
    if settings.metrics_port is not None:
        raise UnusableCluster("metrics_port: a cluster has its figures at the gateway and at each worker")
    check_bind(settings)


def up(plan: ClusterPlan) -> PlacementMaker:
    """Begin what is missing, or change the number of workers of one that serves. Ray is joined already.

    Raises UnusableCluster, and UnusableAccess.
    """
    check_settings(plan.settings)
    Tokens.load(plan.settings)  # what is wrong with them is told here, not by each process
    num_gpus = gpus_of_worker(plan.settings, _gpus_of_machines())
    secret = found_secret() or secrets.token_bytes(SECRET_BYTES)
    table = partial(
        PlacementTable,
        plan.policy,
        max_per_network=plan.settings.max_sessions_per_address,
        max_leased_per_network=plan.settings.max_connecting_per_address,
    )
    maker = PlacementMaker(table, secret)
    maker.find()
    draining = _draining(maker)  # first: what has drained by now has ended
    there = {id: preset_of(id) for id in worker_ids() if id not in draining}
    change = change_to(plan.workers, there)
    for id, preset in change.begin:
        worker = WorkerPlan(
            id=id,
            settings=worker_settings(plan.settings, id, preset),
            secret=secret,
            placement=maker,
            import_engine=plan.import_engine,
        )
        begin_worker(worker, num_gpus=num_gpus)
    for id in change.drain:
        drain(maker.client(), id)
    deploy(GatewayPlan(settings=plan.settings, secret=secret, placement=maker), replicas=plan.gateways)
    return maker


def drain(placement: RayPlacement, worker: str) -> None:
    """It lets nobody in any more, sends away who is there, and ends. Raises KeyError for an unknown one."""
    asyncio.run(placement.drain(worker))


def statuses(placement: RayPlacement) -> tuple[WorkerStatus, ...]:
    """Of all workers that have reported of late. Raises ConnectionError."""
    return asyncio.run(placement.workers())


def starting(told: Sequence[WorkerStatus]) -> list[str]:
    """Workers that have not reported yet: those of `told` have."""
    return sorted(set(worker_ids()) - {one.report.worker for one in told})


def down() -> None:
    """End gateways, workers, journals and placement, in this order; who streams is hung up."""
    undeploy()
    for id in worker_ids():
        stop_worker(id)
    ray = ray_module()
    journals = [name for name in ray.util.list_named_actors() if name.startswith(JOURNAL_PREFIX)]
    for name in (*journals, PLACEMENT):
        with suppress(ValueError):
            ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)


def is_up() -> bool:
    """Whether there is a placement, without which there is no cluster."""
    return found_secret() is not None


def found_secret() -> bytes | None:
    """Of the cluster that Ray runs; None where there is none."""
    ray = ray_module()
    try:
        actor = ray.get_actor(PLACEMENT, namespace=NAMESPACE)
        return ray.get(actor.secret.remote(), timeout=SECRET_S)
    except (ValueError, ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return None


def existing() -> RayPlacement:
    """The placement of the cluster that Ray runs. Raises NoCluster."""
    if not is_up():
        raise NoCluster(NO_PLACEMENT)
    return existing_placement()


def _draining(maker: PlacementMaker) -> set[str]:
    return {one.report.worker for one in statuses(maker.client()) if one.report.is_draining}


def _gpus_of_machines() -> list[int]:
    return [int(node["Resources"].get("GPU", 0)) for node in ray_module().nodes() if node["Alive"]]


def gpus_of_worker(settings: Settings, there: Sequence[int]) -> int:
    """How many GPUs a worker takes, of one machine: Ray gives no actor those of two. 0: it works on a CPU.

    `there`: how many each machine has; one that has them may still join. Raises UnusableCluster.
    """
    most, gpus = max(there, default=0), settings.gpus
    if gpus == "auto":
        raise UnusableCluster("gpus: expected how many of a machine's GPUs each worker takes, got auto")
    if settings.device == "cpu":
        return 0  # so many processes, for tests
    if not most and settings.device == "auto":
        if gpus > 1:
            raise UnusableCluster(f"gpus: expected 1, for no machine of this cluster has a GPU, got {gpus}")
        return 0
    if most and gpus > most:
        raise UnusableCluster(
            f"gpus: expected at most {most}, as many as one machine of this cluster has, got {gpus}"
        )
    return gpus
