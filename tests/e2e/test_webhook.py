"""The upstream's own webhook has a finished render fetched long before it would be asked after."""

from collections.abc import Callable

import pytest

from tests.e2e.caller import ledger
from tests.e2e.conftest import Up
from tests.services import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

SECRET = "whsec_b25lIHRha2UsIG9uZSBob29r"
# Without a hint, no render is asked after sooner.
_POLL_SECONDS = "80"


def test_a_webhook_completes_a_job_that_polling_would_leave_waiting(up: Callable[..., Up]) -> None:
    port = free_port()
    service = up(
        port=port,
        SIMULATOR_OPTIONS=f"--render-seconds 2 --webhook-url http://127.0.0.1:{port}/hooks/sora "
        f"--webhook-secret {SECRET}",
        SORA_WEBHOOK_SECRET=SECRET,
        SORA_SYNC_SECONDS_MIN=_POLL_SECONDS,
        SORA_SYNC_SECONDS_MAX=_POLL_SECONDS,
    )

    job, _ = service.caller.follow(service.caller.ask_for("A lantern on a frozen lake"), within=20)

    (entry,) = ledger(service.upstream)
    assert entry["id"] == job["soraJobId"]
    assert service.program.output.count("refused") == 0
