"""Settings of the server. Flags > environment (DEPTHLIVE_...) > a TOML file > the defaults below."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, get_origin

import pydantic_core
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    IPvAnyNetwork,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from server.config_file import read_config
from server.picture_size import PictureSize
from streaming.api import (
    CONTROLS,
    DEFAULT_LATENCY,
    MAX_PROMPT_LENGTH,
    MAX_SEED,
    ControlName,
    Decoder,
    Gpus,
    LatencyLevel,
    Precision,
    Speed,
)

Codec = Literal["h264", "vp8"]

ENV_PREFIX = "DEPTHLIVE_"
CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
PREFIX = r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*"  # of the paths of a public address


class IceServer(BaseModel):
    """One STUN or TURN server, as WebRTC's RTCIceServer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: tuple[str, ...] = Field(min_length=1)
    username: str | None = None
    credential: SecretStr | None = None

    @field_validator("urls")
    @classmethod
    def _are_ice_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not url.startswith(("stun:", "stuns:", "turn:", "turns:")):
                raise ValueError(f"{url!r} is not a stun:, stuns:, turn: or turns: address")
        return urls

    @property
    def needs_credentials(self) -> bool:
        """Whether it is a TURN server that is to get its credentials from `turn_secret`."""
        return self.username is None and any(url.startswith(("turn:", "turns:")) for url in self.urls)


class Settings(BaseSettings):
    """The effective configuration of one server process. Build it with `load_settings`."""

    # Texts of the environment come as they are: `_read_list` says what is wrong with one, the library raises.
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="forbid", enable_decoding=False
    )

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 serves other machines too.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the model runs; auto takes a GPU if there is one."
    )
    gpus: Gpus = Field(
        1,
        description="GPUs of this machine that work on a stream together, the first ones: a number, or auto "
        "for all. Each holds the generator's weights.",
    )
    model: str = Field("embedded", min_length=1, description="Preset of the generator.")
    size: PictureSize | None = Field(
        None, description="Width and height of the pictures, as 832x480; none takes the model's own."
    )
    speed: Speed = Field(
        "exact",
        description="exact keeps the model's own numbers and autoencoder; fast multiplies in fp8 on a GPU "
        "and decodes with TAEHV.",
    )
    decoder: Decoder = Field(
        "auto",
        description="Latents to pictures by the model's own autoencoder or by the quick one; auto as speed "
        "says.",
    )
    precision: Precision = Field(
        "auto", description="Type of the model's numbers; auto takes bfloat16 where the device gains by it."
    )
    depth: str = Field(
        "auto",
        min_length=1,
        description="Depth estimator: edges, a model id or folder for transformers, or auto: the model's.",
    )
    controls: tuple[ControlName, ...] = Field(
        CONTROLS,
        min_length=1,
        description="Controls that streams may use, each at a price in memory: depth, gray, lines.",
    )
    scribble: Path | None = Field(
        None,
        description="Published file of VACE's network that draws the control lines; none: filters do.",
    )
    prompt: str = Field(
        "a statue of molten gold",
        min_length=1,
        max_length=MAX_PROMPT_LENGTH,
        description="The prompt until somebody asks for another.",
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Seed of the noise that a stream starts from.")
    latency: LatencyLevel = Field(
        DEFAULT_LATENCY,
        description="Steps and noise scale that a stream begins with; low and lower: one and two steps less "
        "than the model's own, lowest: one, from the camera's picture.",
    )
    preset_file: Path | None = Field(
        None, description="Set-up in JSON that every new stream begins with, as the page saves one."
    )
    max_sessions: int = Field(2, ge=1, description="Peers served at once; the next one is told to retry.")
    audio: bool = Field(
        True,
        description="Take the publisher's sound and send it with the pictures, as late as they are.",
    )
    min_fps: float = Field(
        16.0,
        ge=0,
        le=120,
        description="Frames per second that every stream must keep: who would slow them to less waits in "
        "line; 0 lets in as many as max_sessions.",
    )
    max_viewers: int = Field(
        8, ge=0, description="Others who may watch one session at once (WHEP); each costs one encoding."
    )
    max_fps: float = Field(30.0, gt=0, le=120, description="Most frames per second generated for one stream.")
    peer_timeout: float = Field(
        10.0,
        gt=0,
        description="Seconds after which a peer is closed that never connected, or stopped its heartbeat.",
    )
    resume_seconds: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="Seconds for which the session of a lost peer is kept, in case it returns.",
    )
    max_sessions_per_address: int = Field(
        16, ge=1, description="Peers of one address, or of one IPv6 /64, served at once."
    )
    max_connecting_per_address: int = Field(
        4, ge=1, description="Offers of one address that hold a place and have not connected yet."
    )
    max_sockets_per_address: int = Field(
        256, ge=1, description="Sockets that one address may have open: those that talk HTTP or WebSocket."
    )
    max_sockets: int = Field(512, ge=1, description="Sockets that all may have open together.")
    requests_per_second: float = Field(
        100.0, gt=0, description="HTTP requests a second from one address; ten seconds' worth at once."
    )
    connects_per_second: float = Field(
        20.0,
        gt=0,
        description="Offers and WebSockets a second from one address; ten seconds' worth at once.",
    )
    max_upload_mb_per_address: int = Field(
        16, ge=8, description="Megabytes of uploads on their way from one address at once."
    )
    max_upload_mb: int = Field(64, ge=8, description="Megabytes of uploads on their way from all at once.")
    camera_seconds: float = Field(
        30.0,
        ge=0,
        description="Seconds without a camera picture after which a place is given back; 0 keeps it.",
    )
    paused_seconds: float = Field(
        900.0, ge=0, description="Seconds of a pause after which a place is given back; 0 keeps it."
    )
    ice_servers: tuple[IceServer, ...] = Field(
        (), description="STUN and TURN servers, used by the server and handed to the page."
    )
    turn_secret: SecretStr | None = Field(
        None,
        description="Secret shared with TURN servers given without a user name; makes credentials that end.",
    )
    turn_seconds: int = Field(
        12 * 3600, ge=60, le=7 * 24 * 3600, description="Seconds for which such credentials are good."
    )
    udp_ports: tuple[int, int] | None = Field(
        None, description="UDP ports for media, as 50000-50100; none takes any free ones."
    )
    public_address: IPvAnyAddress | None = Field(
        None, description="Address at which clients reach those ports; none tells them the machine's own."
    )
    private_candidates: bool = Field(
        True,
        description="Look for clients at addresses in private networks, where a phone at home is; off keeps "
        "strangers from having datagrams sent into the server's own network.",
    )
    # H.264 first: both ends code it faster than VP8, and so with less delay.
    codecs: tuple[Codec, ...] = Field(
        ("h264", "vp8"),
        min_length=1,
        description="Video codecs that the output may have, the preferred one first: h264, vp8.",
    )
    allowed_origins: tuple[str, ...] = Field(
        (), description="Other sites, as https://example.org, that may embed the page and call the server."
    )
    auth_secret_file: Path | None = Field(
        None,
        description="File with a secret of 32 bytes or more: who comes needs a token that it signs, as "
        "depthlive token makes.",
    )
    auth_tokens_file: Path | None = Field(
        None,
        description="File of tokens, one a line: name, role, token, if need be session=ID, expires=TIME.",
    )
    open: bool = Field(
        False, description="Let anybody in who reaches the address, without tokens, on other than loopback."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Names that clients may open the server by, as live.example.org or *.example.org, beside "
        "loopback and the address that it listens on.",
    )
    tls: Literal["off", "self-signed"] = Field(
        "off", description="self-signed makes a certificate for this machine's names and addresses."
    )
    tls_cert: Path | None = Field(
        None, description="PEM file of a certificate with its chain: serve HTTPS with it."
    )
    tls_key: Path | None = Field(
        None, validate_default=True, description="PEM file of its private key, without a password."
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="Networks of proxies whose X-Forwarded-For, -Proto, -Host and -Prefix are believed, as "
        "10.0.0.0/8.",
    )
    public_prefix: str = Field(
        "",
        description="Path that a proxy serves this server under, as /live; the proxy may take it away.",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of loopback for /metrics alone, which is then nowhere else; none leaves it to "
        "admins, or to this machine.",
    )
    max_recording_minutes: float = Field(10.0, gt=0, le=24 * 60, description="Longest recording.")
    max_recordings_mb: int = Field(
        2048, ge=1, description="Megabytes that all recordings together may take; the oldest gives way."
    )
    max_session_recordings_mb: int = Field(
        512, ge=1, description="Megabytes that one session's recordings may take; its oldest gives way."
    )
    recording_hours: float = Field(
        24.0, ge=0, description="Hours after which a recording is deleted; 0 keeps it."
    )
    recordings_dir: Path | None = Field(
        None,
        description="Folder in which recordings outlive the server; none takes a temporary one that goes "
        "with it.",
    )
    engine_timeout: float = Field(
        120.0,
        gt=0,
        description="Most seconds without a sign of the model's work after which its streams end with an "
        "error; 20 times its slowest job of late, and 30 at least, if that is sooner.",
    )
    restart: bool = Field(
        True,
        description="Whether a server whose model has ended or hangs starts again, in a fresh process of the "
        "same number; else it stays, and takes nobody.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe messages logged."
    )
    traces: bool = Field(
        False,
        description="Send a trace of each chunk to OpenTelemetry, as its OTEL_ variables say; needs "
        "depthlive[otel].",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="How they are logged: text, or json with one object a line."
    )
    cache_dir: Path | None = Field(
        None, description="Folder for what a GPU's start compiles; none takes the user's cache folder."
    )
    random_weights: bool = Field(
        False,
        description="Debugging: draw the model's weights instead of loading them. As fast, nothing to "
        "download, and what it paints is noise.",
    )
    stamp_source: bool = Field(
        False,
        description="Debugging: paste the top tenth of each camera frame over the picture made from it.",
    )

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        """They end up in headers, so nothing but scheme, host and port: no path, no space, no wildcard."""
        for origin in origins:
            if not re.fullmatch(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?", origin):
                raise ValueError(f"{origin!r} is not an origin: expected one like https://example.org")
        return origins

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        """In lower case, IPv6 without brackets, without the dot of the root."""
        found: list[str] = []
        for host in hosts:
            name = host.lower().removesuffix(".")
            if not re.fullmatch(
                r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]|[0-9a-f.]*:[0-9a-f:.]+", name
            ):
                raise ValueError(f"{host!r} is not a host: expected a name or address without scheme or port")
            found.append(str(ip_address(name.strip("[]"))) if ":" in name else name)
        return tuple(found)

    @field_validator("public_prefix")
    @classmethod
    def _is_path(cls, prefix: str) -> str:
        path = prefix.rstrip("/")
        if not re.fullmatch(PREFIX, path):
            raise ValueError("expected a path as /live")
        return path

    @field_validator("tls_key")
    @classmethod
    def _is_a_pair(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("tls_cert") is None):
            raise ValueError("expected tls_cert and tls_key together")
        if key is not None and info.data.get("tls") == "self-signed":
            raise ValueError("expected either a certificate and its key or tls = self-signed")
        return key

    @field_validator("gpus", mode="before")
    @classmethod
    def _read_count(cls, value: Any) -> Any:
        """One complaint in place of one for each type that a value may have."""
        if isinstance(value, int | str) and re.fullmatch(r"auto|[1-9][0-9]{0,2}", str(value)):
            return value if value == "auto" else int(value)
        raise ValueError("expected 1 or more, or auto")

    @field_validator("controls")
    @classmethod
    def _are_several(cls, controls: tuple[ControlName, ...]) -> tuple[ControlName, ...]:
        if len(set(controls)) < len(controls):
            raise ValueError(f"{controls!r} names a control twice")
        return controls

    @field_validator("codecs")
    @classmethod
    def _are_different(cls, codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
        if len(set(codecs)) < len(codecs):
            raise ValueError(f"{codecs!r} names a codec twice")
        return codecs

    @field_validator("udp_ports", mode="before")
    @classmethod
    def _read_range(cls, value: Any) -> Any:
        """Make (50000, 50100) of "50000-50100"."""
        if value is None or isinstance(value, tuple):
            return value  # pyright: ignore[reportUnknownVariableType] -- raw input
        found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", str(value))
        first, last = map(int, found.groups()) if found else (0, 0)
        if not 1024 <= first <= last <= 65535:
            raise ValueError("expected FIRST-LAST, from 1024 to 65535, as 50000-50100")
        return first, last

    @field_validator("turn_secret")
    @classmethod
    def _has_a_server(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        servers: tuple[IceServer, ...] | None = info.data.get(
            "ice_servers"
        )  # None: they are wrong themselves
        if secret is not None and servers is not None and not any(one.needs_credentials for one in servers):
            raise ValueError("expected a turn: address without a user name among ice_servers")
        return secret

    @field_validator("ice_servers", mode="before")
    @classmethod
    def _accept_plain_urls(cls, value: Any) -> Any:
        """Let "stun:host:port" stand for {"urls": ["stun:host:port"]}."""
        if isinstance(value, list | tuple):
            return [{"urls": [item]} if isinstance(item, str) else item for item in value]  # pyright: ignore[reportUnknownVariableType] -- raw input
        return value

    # Last: what is written last runs first, and the others are to see a list.
    @field_validator("*", mode="before")
    @classmethod
    def _read_list(cls, value: Any, info: ValidationInfo) -> Any:
        """Let a text stand for a list: "a,b", or JSON where the items are more than words."""
        is_list = get_origin(cls.model_fields[info.field_name or ""].annotation) is tuple
        if is_list and isinstance(value, list | tuple):  # a flag that is given again, or with commas
            items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType] -- raw input
            if all(isinstance(item, str) and "{" not in item for item in items):
                return [part.strip() for item in items for part in item.split(",") if part]
            return items
        if not is_list or not isinstance(value, str):
            return value
        text = value.strip()
        if not text.startswith(("[", "{")):
            return [item.strip() for item in text.split(",")] if text else []
        try:
            found: Any = pydantic_core.from_json(text)
        except ValueError:
            raise ValueError("expected values with commas between, as a,b, or a list in JSON") from None
        return found if isinstance(found, list) else [found]  # pyright: ignore[reportUnknownVariableType] -- raw input

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment; no dotenv file and no secrets directory that nobody asked for."""
        return init_settings, env_settings

    def describe(self) -> str:
        """The effective configuration, one `name = value` per line; secrets are masked."""
        values = self.model_dump(mode="json")
        width = max(map(len, values))
        return "\n".join(f"{name:<{width}} = {value!r}" for name, value in values.items())


def load_settings(flags: Mapping[str, Any], toml_file: Path | None = None) -> Settings:
    """Settings from flags (None = not given), the environment and `toml_file`.

    Raises pydantic.ValidationError naming each bad field, OSError when the file cannot be read, and
    server.config_file.ConfigFileError when it is not TOML.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if toml_file is None:
        return Settings(**given)
    in_file = read_config(toml_file)

    class SettingsWithFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *args: Any, **sources: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            others = super().settings_customise_sources(settings_cls, *args, **sources)
            return *others, InitSettingsSource(settings_cls, in_file)

    return SettingsWithFile(**given)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Names in `environment` that look like ours but set nothing: most likely misspelt."""
    known = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    return sorted(name for name in environment if name.startswith(ENV_PREFIX) and name.upper() not in known)
