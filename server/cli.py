"""Command line `depthlive`. All settings of the server come from here and from settings.py."""

import asyncio
import inspect
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, cast, get_args, get_origin

import typer
from pydantic import ValidationError

from server.access.errors import UnusableAccess
from server.access.token_cli import token
from server.app import CannotListen
from server.app import serve as serve_until_stopped
from server.cluster import command as cluster
from server.cluster.command import MISUSED
from server.config_file import ConfigFileError
from server.doctor.command import report
from server.environment import MISREAD, misread
from server.logs import configure_logging
from server.media.recording_store import RecordingsUnusable
from server.models_cli import models_app
from server.placement.free_places import Policy
from server.preset_file import PresetUnusable
from server.restart import End, leave_at_once, start_again
from server.settings import (
    CONFIG_VARIABLE,
    ENV_PREFIX,
    Settings,
    load_settings,
    unknown_variables,
)
from server.tracing import TracingUnavailable
from server.virtual_camera.command import camera

logger = logging.getLogger(__name__)

NETWORK, ACCESS, MODEL, LIMITS, DEBUGGING = "Network", "Access", "Model", "Limits", "Debugging"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models_app, name="models")
app.command()(token)
app.command()(camera)
cluster_app = typer.Typer(no_args_is_help=True, help="Serve with several workers, on this machine or many.")
app.add_typer(cluster_app, name="cluster")
cluster_app.command("status")(cluster.status)
cluster_app.command("drain")(cluster.drain_worker)
cluster_app.command("down")(cluster.end)


@app.callback()
def main() -> None:
    """Real-time video instrument: your webcam in, depth-guided generated video back, while you watch."""


def _option(panel: str, name: str, flag: str | None = None) -> Any:
    """The flag of one field of Settings. Help and default are the field's own, so each is written once."""
    field = Settings.model_fields[name]
    default: object = field.default
    if isinstance(default, bool):
        default = "on" if default else "off"
    if isinstance(default, tuple):
        default = ", ".join(map(str, cast(tuple[object, ...], default))) or "none"
    return typer.Option(
        flag or f"--{name.replace('_', '-')}",
        help=f"{field.description} Default: {default}.",
        metavar="|".join(get_args(field.annotation)) if get_origin(field.annotation) is Literal else None,
        rich_help_panel=panel,
    )


@app.command()
def serve(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(envvar=CONFIG_VARIABLE, help="TOML file with any of these settings, as name = value."),
    ] = None,
    host: Annotated[str | None, _option(NETWORK, "host")] = None,
    port: Annotated[int | None, _option(NETWORK, "port")] = None,
    ice_servers: Annotated[list[str] | None, _option(NETWORK, "ice_servers", "--ice-server")] = None,
    turn_secret: Annotated[str | None, _option(NETWORK, "turn_secret")] = None,
    turn_seconds: Annotated[int | None, _option(NETWORK, "turn_seconds")] = None,
    udp_ports: Annotated[str | None, _option(NETWORK, "udp_ports")] = None,
    public_address: Annotated[str | None, _option(NETWORK, "public_address")] = None,
    allowed_origins: Annotated[
        list[str] | None, _option(NETWORK, "allowed_origins", "--allowed-origin")
    ] = None,
    private_candidates: Annotated[
        bool | None,
        _option(NETWORK, "private_candidates", "--private-candidates/--no-private-candidates"),
    ] = None,
    codecs: Annotated[list[str] | None, _option(NETWORK, "codecs", "--codec")] = None,
    auth_secret_file: Annotated[Path | None, _option(ACCESS, "auth_secret_file")] = None,
    auth_tokens_file: Annotated[Path | None, _option(ACCESS, "auth_tokens_file")] = None,
    open: Annotated[bool | None, _option(ACCESS, "open")] = None,
    allowed_hosts: Annotated[list[str] | None, _option(ACCESS, "allowed_hosts", "--allowed-hosts")] = None,
    tls: Annotated[str | None, _option(ACCESS, "tls")] = None,
    tls_cert: Annotated[Path | None, _option(ACCESS, "tls_cert")] = None,
    tls_key: Annotated[Path | None, _option(ACCESS, "tls_key")] = None,
    trusted_proxies: Annotated[
        list[str] | None, _option(ACCESS, "trusted_proxies", "--trusted-proxies")
    ] = None,
    public_prefix: Annotated[str | None, _option(ACCESS, "public_prefix")] = None,
    metrics_port: Annotated[int | None, _option(ACCESS, "metrics_port")] = None,
    peer_timeout: Annotated[float | None, _option(NETWORK, "peer_timeout")] = None,
    resume_seconds: Annotated[float | None, _option(NETWORK, "resume_seconds")] = None,
    model: Annotated[str | None, _option(MODEL, "model")] = None,
    size: Annotated[str | None, _option(MODEL, "size")] = None,
    speed: Annotated[str | None, _option(MODEL, "speed")] = None,
    decoder: Annotated[str | None, _option(MODEL, "decoder")] = None,
    depth: Annotated[str | None, _option(MODEL, "depth")] = None,
    controls: Annotated[list[str] | None, _option(MODEL, "controls", "--controls")] = None,
    scribble: Annotated[Path | None, _option(MODEL, "scribble")] = None,
    device: Annotated[str | None, _option(MODEL, "device")] = None,
    audio: Annotated[bool | None, _option(NETWORK, "audio", "--audio/--no-audio")] = None,
    gpus: Annotated[str | None, _option(MODEL, "gpus")] = None,
    precision: Annotated[str | None, _option(MODEL, "precision")] = None,
    cache_dir: Annotated[Path | None, _option(MODEL, "cache_dir")] = None,
    prompt: Annotated[str | None, _option(MODEL, "prompt")] = None,
    seed: Annotated[int | None, _option(MODEL, "seed")] = None,
    latency: Annotated[str | None, _option(MODEL, "latency")] = None,
    preset_file: Annotated[Path | None, _option(MODEL, "preset_file")] = None,
    max_sessions: Annotated[int | None, _option(LIMITS, "max_sessions")] = None,
    min_fps: Annotated[float | None, _option(LIMITS, "min_fps")] = None,
    max_sessions_per_address: Annotated[int | None, _option(LIMITS, "max_sessions_per_address")] = None,
    max_connecting_per_address: Annotated[int | None, _option(LIMITS, "max_connecting_per_address")] = None,
    max_sockets_per_address: Annotated[int | None, _option(LIMITS, "max_sockets_per_address")] = None,
    max_sockets: Annotated[int | None, _option(LIMITS, "max_sockets")] = None,
    requests_per_second: Annotated[float | None, _option(LIMITS, "requests_per_second")] = None,
    connects_per_second: Annotated[float | None, _option(LIMITS, "connects_per_second")] = None,
    max_upload_mb_per_address: Annotated[int | None, _option(LIMITS, "max_upload_mb_per_address")] = None,
    max_upload_mb: Annotated[int | None, _option(LIMITS, "max_upload_mb")] = None,
    camera_seconds: Annotated[float | None, _option(LIMITS, "camera_seconds")] = None,
    paused_seconds: Annotated[float | None, _option(LIMITS, "paused_seconds")] = None,
    max_viewers: Annotated[int | None, _option(LIMITS, "max_viewers")] = None,
    max_fps: Annotated[float | None, _option(LIMITS, "max_fps")] = None,
    max_recording_minutes: Annotated[float | None, _option(LIMITS, "max_recording_minutes")] = None,
    max_recordings_mb: Annotated[int | None, _option(LIMITS, "max_recordings_mb")] = None,
    max_session_recordings_mb: Annotated[int | None, _option(LIMITS, "max_session_recordings_mb")] = None,
    recording_hours: Annotated[float | None, _option(LIMITS, "recording_hours")] = None,
    recordings_dir: Annotated[Path | None, _option(LIMITS, "recordings_dir")] = None,
    engine_timeout: Annotated[float | None, _option(LIMITS, "engine_timeout")] = None,
    restart: Annotated[bool | None, _option(LIMITS, "restart", "--restart/--no-restart")] = None,
    log_level: Annotated[str | None, _option(DEBUGGING, "log_level")] = None,
    log_format: Annotated[str | None, _option(DEBUGGING, "log_format")] = None,
    traces: Annotated[bool | None, _option(DEBUGGING, "traces")] = None,
    random_weights: Annotated[bool | None, _option(DEBUGGING, "random_weights")] = None,
    stamp_source: Annotated[bool | None, _option(DEBUGGING, "stamp_source")] = None,
) -> None:
    """Serve the page and its streams until interrupted.

    Open the address that is logged, allow the camera, and type a prompt. The page is there at once; until the
    model is warm it shows your camera.

    Each setting can also come from the environment, as DEPTHLIVE_PORT=9000, or from a TOML file, as
    port = 9000. A flag wins over the environment, the environment over the file. Secrets do not belong into
    flags, which others on the machine can see. A TURN server with a user name goes into the file:
    ice_servers = [{urls = ["turn:host"], username = "u", credential = "c"}]
    """
    _run(_settings_of(ctx))


def _run(settings: Settings) -> None:
    """Serve until interrupted. What keeps the server from it ends the process with a reason and a code."""
    configure_logging(settings.log_level, settings.log_format)
    logger.info("Effective configuration:\n%s", settings.describe())
    for name in unknown_variables(os.environ):
        logger.warning("%s in the environment sets nothing; is it misspelt?", name)
    try:
        end = asyncio.run(serve_until_stopped(settings))
    except (CannotListen, RecordingsUnusable) as error:
        _stop(str(error), code=1)
    except (UnusableAccess, TracingUnavailable, PresetUnusable) as error:
        _stop(str(error), code=2)
    except MISREAD as error:
        if (words := misread(error, os.environ)) is not None:
            _stop(words, code=2)
        if not isinstance(error, OSError):
            raise
        _stop(f"cannot start: {error.strerror or error}", code=1)
    except KeyboardInterrupt:  # the second one: the first ends in order
        raise typer.Exit(130) from None
    if end is End.LOST:
        start_again()
    if end is End.THREAD_LEFT:
        leave_at_once()


def _takes_settings_too(command: Callable[..., None]) -> Callable[..., None]:
    """Every flag of `serve` before the command's own; it finds them in its context."""
    taken, own = inspect.signature(serve), inspect.signature(command)
    others = [
        one for name, one in own.parameters.items() if name != "ctx" and one.kind is not one.VAR_KEYWORD
    ]
    command.__signature__ = own.replace(  # pyright: ignore[reportFunctionMemberAccess] -- inspect reads it
        parameters=[*taken.parameters.values(), *others]
    )
    return command


@app.command()
@_takes_settings_too
def doctor(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as a list in JSON.")] = False,
    **settings: Any,
) -> None:
    """Check whether this machine can serve with these settings, and say what to do if not.

    Takes every flag of `serve`, the same environment and the same file. Ends with 1 after a failure.
    """
    ctx.params.pop("as_json")
    logging.basicConfig(level=logging.ERROR)
    raise typer.Exit(report(_settings_of(ctx), as_json=as_json))


@cluster_app.command("up")
@_takes_settings_too
def cluster_up(
    ctx: typer.Context,
    workers: Annotated[
        int,
        typer.Option(min=0, help="Workers with the model of --model; each takes a GPU, where there is one."),
    ] = 1,
    worker: Annotated[
        list[str] | None, typer.Option(metavar="PRESET=COUNT", help="So many workers of another preset, too.")
    ] = None,
    gateways: Annotated[int, typer.Option(min=1, help="Processes that let clients in.")] = 1,
    policy: Annotated[
        Policy, typer.Option(help="Fill free workers first, or those that have most.")
    ] = "spread",
    address: Annotated[
        str | None,
        typer.Option(help="Of a cluster of Ray that runs; none takes this machine's, or begins one."),
    ] = None,
    **settings: Any,
) -> None:
    """Serve with several workers behind one address; again, to have more or fewer of them while they serve.

    Takes every flag of `serve`: host and port are the gateway's. Where it has begun Ray itself it stays until
    interrupted, and ends all of it then; else it returns, and `depthlive cluster down` ends what it began.
    """
    own = {name: ctx.params.pop(name) for name in ("workers", "worker", "gateways", "policy", "address")}
    configured = _settings_of(ctx)
    wanted = {configured.model: own["workers"]} | dict(map(_preset_count, own["worker"] or ()))
    cluster.begin_or_change(
        configured, wanted, gateways=own["gateways"], policy=own["policy"], address=own["address"]
    )


def _preset_count(text: str) -> tuple[str, int]:
    preset, _, count = text.rpartition("=")
    if not preset or not count.isdecimal():
        _stop(f"worker: expected PRESET=COUNT, as embedded=2, got {text!r:.80}", code=MISUSED)
    return preset, int(count)


def _settings_of(ctx: typer.Context) -> Settings:
    """As flags, environment and file have them."""
    # Not given is None, but typer makes it an empty list where several may be given.
    flags = {name: value for name, value in ctx.params.items() if value not in (None, [], ())}
    flags.setdefault("config", None)
    return _settings(flags, flags.pop("config"))


def _settings(flags: Mapping[str, Any], config: Path | None) -> Settings:
    try:
        return load_settings(flags, config)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}{_told(item['loc'][0], item['input'])}"
            f"{_origin(str(item['loc'][0]), flags, config)}"
            for item in error.errors(include_url=False)
        ]
        _stop("\n".join(["these settings cannot be used:", *lines]), code=2)
    except ConfigFileError as error:
        _stop(str(error), code=2)
    except OSError as error:
        _stop(f"cannot read the configuration file {config}: {error.strerror}", code=2)


def _told(setting: int | str, value: object) -> str:
    """The value at fault, unless it may hold a secret."""
    return "" if setting in ("ice_servers", "turn_secret") else f", got {value!r}"


def _origin(setting: str, flags: Mapping[str, Any], config: Path | None) -> str:
    """Where a setting comes from that no flag gives: it may have been set long ago, and by somebody else."""
    variable = f"{ENV_PREFIX}{setting}".upper()
    if setting in flags:
        return ""
    if any(name.upper() == variable for name in os.environ):
        return f" (in {variable})"
    return f" (in {config})" if config else ""


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(f"depthlive: {message}", err=True)
    raise typer.Exit(code)
