"""What comes from outside ends as harmless text in the log and on an operator's terminal."""

import json
import logging
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command, get_commands, load_command_class

from api.escaping import EscapingCommand, escaped
from config.logs import FORMS, line
from tests.configured import configure
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.models import Job, Submission

HOSTILE = "x\r\n2026-01-01 ERROR forged\x1b[2J\x9b31m\u2028next\u202egnp\x00\x7f\u200b"


def written(form: str, record: logging.LogRecord) -> str:
    return line(form).format(record)


def record(message: str, *args: object, exc_info: bool = False) -> logging.LogRecord:
    info = sys.exc_info() if exc_info else None
    return logging.LogRecord("x", logging.ERROR, __file__, 1, message, args, info)


def test_a_message_is_one_line_without_control_characters() -> None:
    text = written("text", record("refused: %s", HOSTILE))
    assert text.isprintable()
    assert r"x\r\n2026-01-01 ERROR forged\x1b[2J\x9b31m\u2028next\u202egnp\x00\x7f\u200b" in text


def test_as_json_it_is_one_line_and_comes_back_whole() -> None:
    text = written("json", record("refused: %s", HOSTILE))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["event"] == f"refused: {HOSTILE}"


@pytest.mark.parametrize("form", FORMS)
def test_names_and_values_of_fields_are_as_harmless(form: str) -> None:
    made = record("changed")
    made.msg = {"event": "changed", "reason": HOSTILE, HOSTILE: {"in": [HOSTILE, Path(HOSTILE)]}}  # type: ignore[assignment]
    made._logger, made._name = logging.getLogger("x"), "error"  # type: ignore[attr-defined]
    assert written(form, made).isprintable()


@pytest.mark.parametrize("text", ["größer", "飛行機", "👩\u200d🚀", "a b", "\\n"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert escaped(text) == text


def test_an_exception_that_quotes_its_cause_forges_no_line() -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        failed = record("failed", exc_info=True)
    first, *rest = written("text", failed).splitlines()
    assert "failed" in first
    assert any("test_an_exception_that_quotes" in line for line in rest), "the traceback is readable"
    assert all(line.startswith("  | ") and line.isprintable() for line in rest)
    as_json = written("json", failed)
    assert as_json.isprintable()
    assert json.loads(as_json)["exception"].endswith(f"ValueError: {HOSTILE}")


def test_what_another_formatter_left_on_the_record_is_not_taken() -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        kept = record("failed", exc_info=True)
    logging.Formatter().format(kept)
    assert all(line.startswith("  | ") for line in written("text", kept).splitlines()[1:])
    assert HOSTILE in (kept.exc_text or ""), "and what others show is theirs"


def test_a_stack_is_indented() -> None:
    made = logging.LogRecord("x", logging.ERROR, __file__, 1, "here", (), None, sinfo=f"Stack\n  {HOSTILE}")
    first, *rest = written("text", made).splitlines()
    assert "here" in first
    assert rest
    assert all(line.startswith("  | ") and line.isprintable() for line in rest)
    assert json.loads(written("json", made))["stack"] == f"Stack\n  {HOSTILE}"


def test_every_command_of_ours_escapes_what_it_prints() -> None:
    ours = {
        name: app
        for name, app in get_commands().items()
        if app in {"accounts", "videos", "batches", "upstreams"}
    }
    assert len(ours) >= 8
    for name, app in ours.items():
        assert isinstance(load_command_class(app, name), EscapingCommand), name


def test_an_error_of_a_command_is_one_line(capsys: pytest.CaptureFixture[str], db: None) -> None:
    with pytest.raises(SystemExit):
        load_command_class("videos", "adopt").run_from_argv(["manage.py", "adopt", HOSTILE, "id"])
    assert capsys.readouterr().err.rstrip("\n").isprintable()


def test_what_a_command_does_not_expect_is_shown_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], db: None
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    command = load_command_class("videos", "adopt")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(HOSTILE)

    monkeypatch.setattr(command, "handle", fail)
    with pytest.raises(RuntimeError) as raised:
        command.run_from_argv(["manage.py", "adopt", "job/1", "id"])
    sys.excepthook(raised.type, raised.value, raised.tb)
    lines = capsys.readouterr().err.rstrip("\n").split("\n")
    assert any("run_from_argv" in line for line in lines), "the traceback is readable"
    assert all(line.startswith("  | ") and line.isprintable() for line in lines)


def test_a_prompt_and_a_reason_reach_the_terminal_harmless(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_next(upstream)
    Job.objects.update(prompt=HOSTILE.replace("\x00", ""))
    Submission.objects.update(state="unknown", due_at=None, upstream_id=None)
    Provider.objects.update(stopped_at="2026-01-01T00:00:00Z", stop_reason=HOSTILE.replace("\x00", ""))
    configure(monkeypatch, upstream)
    out = StringIO()
    call_command("undecided", stdout=out)
    lines = out.getvalue().split("\n")
    assert "forged" in out.getvalue()
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("2026-01-01 ERROR") for line in lines)
