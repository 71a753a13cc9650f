"""The alert rules and the dashboard ask only for what a scrape has."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families as parse
from pytest_django import Settings

from health.checks import NAMES
from health.metrics import observations
from health.readiness.checker import Checker, Readiness
from tests.videos.sending import submit_next
from upstreams.client import errors
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.models import Heartbeat, Job, Submission
from videos.queue import heartbeats
from videos.states import SubmissionState

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
TOKEN = "a-token-of-monitoring"


def rules() -> list[dict[str, Any]]:
    found = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    return [rule for group in found["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return list(json.loads((FOLDER / "dashboard.json").read_text())["panels"])


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [
        target["expr"] for panel in panels() for target in panel["targets"]
    ]


@pytest.fixture
def samples(
    db: None, job: Job, upstream: Upstream, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> dict[str, set[str]]:
    """The label names of each sample of a scrape of a deployment in which everything has happened once."""
    monkeypatch.setattr(Checker, "readiness", lambda self: Readiness(True, dict.fromkeys(NAMES, "healthy")))
    settings.METRICS_TOKEN = TOKEN
    for role in Heartbeat.Role:
        heartbeats.record(role, worked=True)
    submit_next(upstream)
    Provider.objects.update(answered_at=database_now())
    observations.called(call="create", seconds=1, error="")
    observations.moved(submission=Submission.objects.select_related("job").get(), before="sending")
    client = Client(headers={"authorization": f"Bearer {TOKEN}"})
    client.get("/schema")
    text = client.get("/metrics?format=prometheus").content.decode()
    found: dict[str, set[str]] = {}
    for family in parse(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_each_metric_that_is_asked_for_is_there(samples: dict[str, set[str]]) -> None:
    asked = {name for each in expressions() for name in re.findall(r"\btakeone_\w+", each)}
    assert len(asked) > 15
    assert asked - set(samples) == set()


def test_each_label_that_is_asked_for_is_there(samples: dict[str, set[str]]) -> None:
    for expression in expressions():
        for name, matchers in re.findall(r"\b(takeone_\w+)\{([^}]*)\}", expression):
            labels = set(re.findall(r'(\w+)=~?"', matchers))
            assert labels
            assert labels <= samples[name], expression
        for labels in re.findall(r"\bby \(([^)]*)\)", expression):
            known = set().union(*(samples[name] for name in re.findall(r"\btakeone_\w+", expression)))
            assert set(labels.split(", ")) <= known, expression


def test_each_value_that_is_asked_for_can_occur() -> None:
    values = {
        "check": set(NAMES),
        "state": set(SubmissionState.values),
        "outcome": {name for name in dir(errors) if isinstance(getattr(errors, name), type)},
    }
    asked = [found for each in expressions() for found in re.findall(r'(\w+)=~?"([^"]*)"', each)]
    checked = [(label, value) for label, text in asked if label in values for value in text.split("|")]
    assert checked
    for label, value in checked:
        assert value in values[label], (label, value)


def test_each_check_has_an_alert() -> None:
    alerted = {name for rule in rules() for name in re.findall(r'check="(\w+)"', rule["expr"])}
    assert alerted == set(NAMES)


def test_each_alert_says_what_to_do_and_the_guide_has_it() -> None:
    headings = set(re.findall(r"^#+ (.*)$", (ROOT / "docs/monitoring.md").read_text(), re.MULTILINE))
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        heading = re.fullmatch(r'docs/monitoring\.md, "(.*)"', rule["annotations"]["action"])
        assert heading is not None
        assert heading[1] in headings
        assert rule["alert"] in (ROOT / "docs/monitoring.md").read_text()
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


def test_brackets_and_quotes_of_each_expression_match() -> None:
    for expression in expressions():
        bare = re.sub(r'"[^"]*"', "", expression)
        assert '"' not in bare
        open_ones: list[str] = []
        for letter in bare:
            if letter in "([{":
                open_ones.append({"(": ")", "[": "]", "{": "}"}[letter])
            elif letter in ")]}":
                assert open_ones.pop() == letter, expression
        assert open_ones == [], expression


def test_the_dashboards_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_the_scrape_is_of_an_address_that_there_is() -> None:
    (job,) = yaml.safe_load((FOLDER / "scrape.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["params"] == {"format": ["prometheus"]}
    assert any(f'job="{job["job_name"]}"' in rule["expr"] for rule in rules())
