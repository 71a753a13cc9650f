"""How a line of the log is written: one JSON object, or one line for people.

Records of Django, Celery, gunicorn and waitress take the same form as our own.
"""

import json
import logging
import logging.config
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

from accounts.keys.key_format import hidden
from api.escaping import escaped
from api.logs.tasks import note_line
from config.log_repeats import LEFT_OUT

FORMS: Final = ("json", "text")

_FIRST: Final = ("timestamp", "level", "event", "logger")
# Several lines of text.
_TRACES: Final = frozenset({"exception", "stack"})


def configure(logging_settings: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(logging_settings)
    # Python would print its warnings in a form of its own.
    logging.captureWarnings(True)


def line(form: str) -> structlog.stdlib.ProcessorFormatter:
    """The formatter for `json` or `text`.

    Each API key is cut down to its prefix, and no text from outside begins another line. In the form `text` a
    traceback follows on lines of its own, each behind `  | `.
    """
    shown: Sequence[Processor]
    if form == "json":
        shown = [_cleaned(hidden, hidden), structlog.processors.JSONRenderer(serializer=_json)]
    else:
        shown = [
            _cleaned(_harmless, _indented),
            structlog.dev.ConsoleRenderer(
                colors=False,
                pad_event_to=0,
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, _keep_stack],
        processors=[
            _describe,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *shown,
        ],
    )


def _keep_stack(_: Any, __: str, event: EventDict) -> EventDict:
    if stack := event.pop("stack_info", None):
        event["stack"] = stack
    return event


def _describe(_: Any, __: str, event: EventDict) -> EventDict:
    """What the record itself says."""
    record: logging.LogRecord = event["_record"]
    note_line(record.levelno)
    event["level"] = record.levelname.lower()
    event["logger"] = record.name
    if left_out := getattr(record, LEFT_OUT, 0):
        event[LEFT_OUT] = left_out
    return event


def _cleaned(clean: Callable[[str], str], clean_trace: Callable[[str], str]) -> Processor:
    """Cleans each text of a line, whatever holds it. The best known fields come first."""

    def value_of(value: Any) -> Any:
        match value:
            case None | bool() | int() | float():
                return value
            case dict():
                return {clean(str(key)): value_of(each) for key, each in value.items()}
            case list() | tuple() | set() | frozenset():
                return [value_of(each) for each in value]
        return clean(str(value))

    def processor(_: Any, __: str, event: EventDict) -> EventDict:
        names = [*(name for name in _FIRST if name in event), *(name for name in event if name not in _FIRST)]
        return {
            clean(name): clean_trace(str(event[name])) if name in _TRACES else value_of(event[name])
            for name in names
        }

    return processor


def _harmless(text: str) -> str:
    return escaped(hidden(text))


def _indented(text: str) -> str:
    return "\n".join(f"  | {_harmless(line)}" for line in text.split("\n"))


def _json(event: EventDict, **options: Any) -> str:
    """JSON escapes all control characters but one."""
    return json.dumps(event, **options).replace("\x7f", "\\u007f")
