"""The items of a batch, from a JSON list or an upload of CSV or JSON Lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from django.conf import settings
from rest_framework import status
from rest_framework.exceptions import APIException, ValidationError

from accounts.models import User
from api.problems import problems_of
from batches.api.serializers import BatchItem
from upstreams import registry
from upstreams.offer.request import AskedPicture, FittedRequest, VideoRequest
from videos.api.serializers.create import video_request_of
from videos.references.asked import GivenPicture, known

Problem = dict[str, Any]
NOTHING_SENT: Final[Problem] = {
    "field": "videos",
    "code": "empty",
    "message": "There is none; send at least one.",
}
_SHOWN_IN_MESSAGE: Final = 3
_SHOWN_OF_ONE: Final = 3


class BadItems(APIException):
    """400: some items cannot be accepted, so none was. `extra` has all problems."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "validation_failed"

    def __init__(self, problems: Sequence[Problem], count: int | None = None) -> None:
        described = "; ".join(_described(problem) for problem in problems[:_SHOWN_IN_MESSAGE])
        more = len(problems) - _SHOWN_IN_MESSAGE
        super().__init__(
            ("Nothing was accepted. " if count is None else f"Nothing was accepted: {count} bad items. ")
            + described
            + (f"; and {more} more, in details" if more > 0 else "")
        )
        self.extra = list(problems)


def _described(problem: Problem) -> str:
    where = [f"line {problem['line']}"] if "line" in problem else []
    where += [problem["field"]] if problem["field"] else []
    return ": ".join([*where, problem["message"]])


@dataclass(frozen=True, slots=True)
class Raw:
    """An item as it was sent, or the problem that prevents reading it. `where` is the start of its
    problems."""

    where: Mapping[str, Any]
    fields: dict[str, Any] | None = None
    problem: str = ""
    # If nothing says a size, it has OpenAI's usual one.
    has_usual_size: bool = False


# The fields that say a size.
_SIZES: Final = frozenset({"size", "resolution", "aspectRatio"})


class Tolerated(NamedTuple):
    """What was taken although it is not as it should be. `message` is for people."""

    code: str
    message: str


class Source(Protocol):
    """Items that can be read again from the start, in constant memory. Raises BadItems if reading
    breaks off."""

    @property
    def most(self) -> int:
        """The largest number of items."""

    @property
    def skipped(self) -> int:
        """How many blank rows the last reading has passed over."""

    @property
    def tolerated(self) -> Sequence[Tolerated]:
        """What the last reading has taken although it is not as it should be."""

    def read(self) -> Iterator[Raw]:
        """The items in their order."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Items of a JSON body."""

    videos: Sequence[Any]

    @property
    def most(self) -> int:
        return int(settings.BATCH_MAX_SIZE)

    @property
    def skipped(self) -> int:
        return 0

    @property
    def tolerated(self) -> Sequence[Tolerated]:
        return ()

    def read(self) -> Iterator[Raw]:
        for number, video in enumerate(self.videos):
            where = {"field": f"videos[{number}]"}
            if isinstance(video, dict):
                yield Raw(where, video)
            else:
                yield Raw(where, problem="A JSON object is required.")


@dataclass(frozen=True, slots=True)
class Item:
    """An item that can be accepted."""

    asked: VideoRequest
    fitted: FittedRequest
    ref: str


class Items:
    """The items of a batch, each with the batch's defaults, validated and fitted to an upstream."""

    def __init__(self, source: Source, defaults: Mapping[str, Any], owner: User) -> None:
        self._source = source
        self._owner = owner
        # Many items of a batch begin with the same picture.
        self._pictures: dict[UUID, AskedPicture] = {}
        self._defaults = defaults
        # The same for all of them.
        self._upstreams = registry.configured()
        # One for all items: making it costs more than using it.
        self._reader = BatchItem()

    def check(self) -> Iterator[Item]:
        """Checks all items. Raises BadItems at the end with every problem, or if there are no items or too
        many."""
        problems: list[Problem] = []
        bad = count = 0
        refs: dict[str, Mapping[str, Any]] = {}
        try:
            for raw in self._source.read():
                count += 1
                if count > self._source.most:
                    raise BadItems([_too_many(self._source.most)])
                found = self._item(raw)
                # As it will be stored, or as it was sent if something else is wrong with the item.
                ref = found.ref if isinstance(found, Item) else _sent_ref(raw)
                if ref and ref in refs:
                    message = f"{ref[:100]!r} was used before{_at(refs[ref])}; each item needs its own."
                    twice = _problem(raw, "ref", "not_unique", message)
                    found = [twice] if isinstance(found, Item) else [*found, twice]
                elif ref:
                    refs[ref] = raw.where
                if isinstance(found, Item):
                    yield found
                else:
                    # A file of lines that are wrong all over would else make a far larger answer.
                    problems += found[:_SHOWN_OF_ONE]
                    bad += 1
        except BadItems as error:
            # The problems found before it are reported as well.
            raise BadItems([*problems, *error.extra]) from None
        if problems:
            raise BadItems(problems, bad)
        if not count:
            raise BadItems([NOTHING_SENT])

    def again(self) -> Iterator[Item]:
        """All items again, after they have been checked."""
        for raw in self._source.read():
            found = self._item(raw)
            assert isinstance(found, Item)
            yield found

    def _item(self, raw: Raw) -> Item | list[Problem]:
        if raw.fields is None:
            return [_problem(raw, "", "invalid", raw.problem)]
        try:
            fields = {**self._defaults, **raw.fields}
            if raw.has_usual_size and not fields.keys() & _SIZES:
                size = self._upstreams.usual_size(str(fields.get("model") or ""))
                fields |= {"size": size} if size else {}
            given = self._reader.run_validation(fields)
            ref = given.pop("ref", "")
            asked, pictures = video_request_of(given)
            found: dict[str, Any] = {name: self._picture(name, each) for name, each in pictures.items()}
            asked = replace(asked, **found)
            return Item(asked, self._upstreams.fit(asked), ref)
        except ValidationError as error:
            return [
                _problem(raw, each["field"], each["code"], each["message"])
                for each in problems_of(error.detail)
            ]

    def _picture(self, name: str, given: GivenPicture) -> AskedPicture:
        assert given.id is not None
        if given.id not in self._pictures:
            self._pictures[given.id] = known(name, given.id, self._owner)
        return self._pictures[given.id]


def _sent_ref(raw: Raw) -> str:
    ref = raw.fields.get("ref") if raw.fields else None
    return ref.strip() if isinstance(ref, str) else ""


def _problem(raw: Raw, field: str, code: str, message: str) -> Problem:
    inside = ".".join(part for part in (str(raw.where.get("field", "")), field) if part)
    return {**raw.where, "field": inside, "code": code, "message": message}


def _at(where: Mapping[str, Any]) -> str:
    return f" in line {where['line']}" if "line" in where else f" by {where['field']}"


def _too_many(most: int) -> Problem:
    return {
        "field": "videos",
        "code": "too_many",
        "message": f"There are more than {most}; send fewer at once.",
    }
