"""docs/logs.md has every line that is always written, with its fields."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from api.logs.events import LogEvent
from config.log_repeats import LEFT_OUT
from health.readiness.probe import Probe
from tests.batches.conftest import MakeBatch, Renders, make_batch, renders
from tests.docs.test_errors_page import rows
from tests.log_lines import Lines
from tests.logs.test_tasks import Named, task_postrun, task_prerun
from tests.sora.conftest import REQUEST
from tests.sora.upstream import Upstream as Server
from tests.sora.upstream import reply
from tests.videos.scripted import ScriptedClient
from upstreams.calls.contact import ObservedClient
from upstreams.client.dialects import OPENAI
from upstreams.registry import Upstream
from videos.models import Job
from videos.queue import providers
from videos.retention.removal import remove_result

__all__ = ["make_batch", "renders"]


def named(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def test_each_line_has_its_row() -> None:
    shown = [row[0].strip("`") for row in rows("Lines that are always written", "logs.md")]
    assert sorted(shown) == sorted(LogEvent)


@pytest.mark.django_db(transaction=True)
def test_each_field_of_a_line_is_on_the_page(
    api: Client,
    make_batch: MakeBatch,
    make_job: Callable[..., Job],
    renders: Renders,
    upstream: Upstream,
    sora: ScriptedClient,
    lines: Lines,
) -> None:
    of_any = {name for row in rows("Fields of any line", "logs.md") for name in named(row[0])}
    own = {row[0].strip("`"): named(row[3]) for row in rows("Lines that are always written", "logs.md")}
    api.get("/api/v1/videos")
    task_prerun.send(Named)
    renders.run(make_batch(2), failing=("boat 1",))
    task_postrun.send(Named)
    remove_result(Job.objects.filter(status="completed")[0])
    providers.stop("scripted", "too dear")
    Probe("storage", lambda: None)._judge("no room")
    with Server(reply(500)) as server, pytest.raises(Exception, match="500"):
        ObservedClient(
            server.url, "k" * 9, name="simulator", dialect=OPENAI, timeout=2, retries=0, retry_delay=1
        ).create(REQUEST)
    found = {(line["event"], name) for line in lines() for name in line}
    assert {event for event, _ in found} >= set(LogEvent)
    assert {
        (event, name) for event, name in found if event in own and name not in own[event] | of_any
    } == set()
    assert LEFT_OUT in of_any
