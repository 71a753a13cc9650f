"""The soak in short: each kind of blow once. `make soak` has the long form."""

from pathlib import Path

import pytest

from tests.faults.soak import soak, summary
from tests.servers import Absent

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(400)]

_SECONDS = 35


def test_a_short_soak_loses_nothing_and_pays_nothing_twice(tmp_path: Path) -> None:
    try:
        run, books = soak(tmp_path, seconds=_SECONDS, seed=7, pause=(0.5, 1.5))
    except Absent as error:
        pytest.skip(str(error))
    print(summary(run, books), run.blows)
    assert books.faults() == {}
    # What was judged was something.
    assert len(run.accepted) >= 20
    assert books.statuses["completed"] >= 10
    assert run.kills >= 5
