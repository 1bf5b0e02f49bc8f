"""Alert rules of examples/deploy, by Prometheus's own tool: they fire when they should, and else not."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

RULES = Path(__file__).parents[2] / "examples" / "deploy" / "prometheus-alerts.yml"
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool comes with Prometheus")

# Series of one sample a minute, and the alerts that have come after ten minutes.
CASES = {
    "all is well": (
        {
            "depthlive_ready": "1x10",
            "depthlive_engine_silent_seconds": "0x10",
            "depthlive_waiting": "0x10",
            "depthlive_sessions": "2x10",
            "depthlive_places": "2x10",
            'depthlive_loop_stall_seconds_bucket{le="0.05"}': "0+100x10",
            'depthlive_loop_stall_seconds_bucket{le="+Inf"}': "0+100x10",
            "depthlive_loop_stall_seconds_count": "0+100x10",
            'depthlive_latency_seconds_bucket{stage="total",le="1"}': "0+100x10",
            'depthlive_latency_seconds_bucket{stage="total",le="+Inf"}': "0+100x10",
            'depthlive_errors_total{code="rejected"}': "0+100x10",
            'depthlive_refused_offers_total{reason="full"}': "0+100x10",
        },
        set(),
    ),
    "no model": ({"depthlive_ready": "0x10"}, {"DepthliveNotReady"}),
    "a model that hangs": (
        {"depthlive_ready": "1x10", "depthlive_engine_silent_seconds": "0+20x10"},
        {"DepthliveModelSilent"},
    ),
    "a process that begins again": (
        {"depthlive_loop_stall_seconds_count": "10 20 1 20 1 20 1 20 20 20 20"},
        {"DepthliveRestarts"},
    ),
    "a loop that stalls": (
        {
            'depthlive_loop_stall_seconds_bucket{le="0.2"}': "0+10x10",
            'depthlive_loop_stall_seconds_bucket{le="1"}': "0+100x10",
            'depthlive_loop_stall_seconds_bucket{le="+Inf"}': "0+100x10",
        },
        {"DepthliveLoopStalls"},
    ),
    "pictures that are old": (
        {
            'depthlive_latency_seconds_bucket{stage="total",le="2"}': "0+10x10",
            'depthlive_latency_seconds_bucket{stage="total",le="5"}': "0+100x10",
            'depthlive_latency_seconds_bucket{stage="total",le="+Inf"}': "0+100x10",
        },
        {"DepthliveSlow"},
    ),
    "errors": ({'depthlive_errors_total{code="internal"}': "0+20x10"}, {"DepthliveErrors"}),
}


def promtool(*arguments: object) -> str:
    assert PROMTOOL is not None
    found = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def names() -> list[str]:
    return [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def of_instance(series: str) -> str:
    """As scraped from one server."""
    return f"{series[:-1]},instance='x'}}" if series.endswith("}") else f"{series}{{instance='x'}}"


@needs_promtool
def test_the_rules_are_rules() -> None:
    assert f"SUCCESS: {len(names())} rules found" in promtool("check", "rules", RULES)


@needs_promtool
@pytest.mark.parametrize("case", CASES)
def test_law_an_alert_comes_for_its_fault_alone(case: str, tmp_path: Path) -> None:
    series, alerts = CASES[case]
    assert alerts <= set(names())
    wanted = [
        {
            "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
            "eval_time": "10m",
            "exp_samples": [{"labels": "{}", "value": int(name in alerts)}],
        }
        for name in names()
    ]
    given = [{"series": of_instance(name), "values": values} for name, values in series.items()]
    file = tmp_path / "test.yml"
    test = {"interval": "1m", "input_series": given, "promql_expr_test": wanted}
    tests = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(tests))
    promtool("test", "rules", file)
