"""Files in examples/deploy/: they parse, and name metrics and settings that exist."""

import json
import re
from pathlib import Path

import pytest
import yaml

from server.cluster.gateway_metrics import GatewayMetrics
from server.settings import CONFIG_VARIABLE, ENV_PREFIX, Settings

FOLDER = Path(__file__).parents[2] / "examples" / "deploy"
NAMES = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
WITH_SETTINGS = ("Dockerfile", "Dockerfile.cuda", "compose.yaml", "depthlive.service")


def text_of(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def expressions() -> list[str]:
    """Every query of the dashboard and of the alerts."""
    dashboard = json.loads(text_of("grafana-dashboard.json"))
    groups = yaml.safe_load(text_of("prometheus-alerts.yml"))["groups"]
    return [
        *(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]),
        *(rule["expr"] for group in groups for rule in group["rules"]),
    ]


async def test_law_every_metric_that_is_watched_exists(server):
    async with server.http.get(server.url + "/metrics") as response:
        text = await response.text()
    gateway = GatewayMetrics()
    gateway.follow("workers", "Ready", lambda: 0.0)
    told = set(re.findall(r"^# TYPE (\w+)", text + gateway.render().decode(), re.MULTILINE))
    told |= {f"{name}_{ending}" for name in told for ending in ("bucket", "count", "sum")}
    watched = {name for one in expressions() for name in re.findall(r"\bdepthlive_\w+", one)}
    assert len(watched) > 15
    assert watched <= told


@pytest.mark.parametrize("name", WITH_SETTINGS)
def test_law_every_variable_is_a_setting(name):
    used = set(re.findall(r"\b(DEPTHLIVE_[A-Z_]+[A-Z])(?=[=:])", text_of(name)))
    assert used and used <= NAMES


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_an_image_runs_as_nobody_special_and_says_how_it_is(name):
    lines = text_of(name).splitlines()
    users = [line for line in lines if line.startswith("USER ")]
    assert users[-1:] == ["USER depthlive"]
    assert any("/readyz" in line for line in lines) and any(line.startswith("VOLUME ") for line in lines)
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    missing = [one for files in copied for one in files if not (FOLDER.parents[1] / one).exists()]
    assert copied and not missing


def test_the_server_and_the_relay_of_compose_share_a_secret():
    services = yaml.safe_load(text_of("compose.yaml"))["services"]
    assert services["depthlive"]["environment"]["DEPTHLIVE_TURN_SECRET"] == "${TURN_SECRET}"
    assert "--static-auth-secret=${TURN_SECRET}" in services["coturn"]["command"]
    built = services["depthlive"]["build"]
    assert (FOLDER / built["context"] / built["dockerfile"]).is_file()
    given = set(re.findall(r"^([A-Z_]+)=", text_of("deploy.env.example"), re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+)\}", text_of("compose.yaml"))) == given


def test_composes_settings_are_taken(monkeypatch):
    """Each value, with the example's names put in, by the settings themselves."""
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", text_of("deploy.env.example"), re.MULTILINE))
    values = yaml.safe_load(text_of("compose.yaml"))["services"]["depthlive"]["environment"]
    for name, value in values.items():
        monkeypatch.setenv(name, re.sub(r"\$\{([A-Z_]+)\}", lambda found: example[found[1]] or "x", value))
    settings = Settings()
    assert settings.udp_ports == (50000, 50063) and len(settings.ice_servers) == 2
    ports = yaml.safe_load(text_of("compose.yaml"))["services"]["depthlive"]["ports"]
    assert "50000-50063:50000-50063/udp" in ports


def test_the_unit_gives_a_session_time_to_end():
    unit = dict(re.findall(r"^(\w+)=(.*)$", text_of("depthlive.service"), re.MULTILINE))
    assert unit["NoNewPrivileges"] == "yes" and unit["DynamicUser"] == "yes"
    assert unit["ProtectSystem"] == "strict"
    assert int(unit["TimeoutStopSec"].removesuffix("s")) >= 20
