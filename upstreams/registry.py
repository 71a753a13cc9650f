"""The configured upstreams: their names, dialects, catalogues, and the clients that talk to them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from django.conf import settings
from django.db import connection
from rest_framework.exceptions import ErrorDetail, ValidationError

from api.statements.compiled import Compiled
from upstreams.calls.contact import ObservedClient
from upstreams.client.client import SoraClient
from upstreams.client.dialects import Dialect
from upstreams.configuration import environment, toml_file
from upstreams.configuration.entry import Entry
from upstreams.models import Provider
from upstreams.offer.catalogue import Catalogue
from upstreams.offer.fitting import fit
from upstreams.offer.from_source import fit_from_source
from upstreams.offer.request import FittedRequest, VideoRequest

# If none is asked for: the default of OpenAI's create.
_USUAL_SIZE: Final = "720x1280"
_COLUMNS: Final = [field.attname for field in Provider._meta.concrete_fields]
_provider: Final = Compiled(lambda name: Provider.objects.filter(name=name).values_list(*_COLUMNS))


@dataclass(frozen=True, slots=True)
class Upstream:
    """One provider's name with what is needed to use it. `Entry` explains the fields that it has as well."""

    name: str
    client: SoraClient
    dialect: Dialect
    catalogue: Catalogue
    concurrency: int
    # The wall clock of one call, in seconds, and the lease under which it is made.
    deadline: float
    lease: float
    order: int = 1
    requests_per_minute: int = 0
    bills_failed: bool = False
    webhook_secrets: tuple[str, ...] = ()

    def provider(self) -> Provider:
        """The provider's row; the first call creates it."""
        for row in _provider.rows(name=self.name):
            return Provider.from_db(connection.alias, _COLUMNS, row)
        return Provider.objects.get_or_create(name=self.name)[0]

    def fit(self, asked: VideoRequest) -> FittedRequest:
        """The nearest request that it renders. Raises ValidationError as `upstreams.offer.fitting.fit`
        and `fit_from_source`."""
        if asked.source is None:
            fitted = fit(asked, self.catalogue)
        else:
            fitted = fit_from_source(asked, asked.source, self.name, self.dialect, self.catalogue)
        key = self.dialect.match_key(fitted.request) or ""
        return replace(fitted, upstream=self.name, match_key=key)


@dataclass(frozen=True, slots=True)
class Upstreams:
    """All configured upstreams, the preferred ones first. At least one."""

    all: tuple[Upstream, ...]
    default_model: str

    @classmethod
    def only(cls, upstream: Upstream) -> "Upstreams":
        """Just this one."""
        return cls((upstream,), upstream.catalogue.default)

    @property
    def described(self) -> str:
        """The address of the only one; of several each name with its address."""
        if len(self.all) == 1:
            return self.all[0].client.base_url
        return ", ".join(f"{each.name} at {each.client.base_url}" for each in self.all)

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def get(self, name: str) -> Upstream | None:
        """The upstream of this name; None if it is not configured."""
        return next((each for each in self.all if each.name == name), None)

    def models(self) -> dict[str, list[Upstream]]:
        """Every model that may be asked for, and the upstreams that render it."""
        found: dict[str, list[Upstream]] = {}
        for upstream in self.all:
            for name in upstream.catalogue.models:
                found.setdefault(name, []).append(upstream)
        return found

    def usual_size(self, model: str) -> str:
        """OpenAI's usual size, if an upstream renders it with this or the default model; else ""."""
        name = model or self.default_model
        offered = (each.catalogue.models.get(name) for each in self.all)
        has_it = any(model is not None and model.renders(_USUAL_SIZE) for model in offered)
        return _USUAL_SIZE if has_it else ""

    def fit(self, asked: VideoRequest) -> FittedRequest:
        """The request as the upstream renders it that changes least of it; of equal ones the preferred.

        Raises ValidationError if none renders the model, or if `asked.strict` and all would change
        something.
        """
        asked = replace(asked, model=asked.model or self.default_model)
        if asked.source is not None:
            # What is made from a video is made where that is.
            return (self.get(asked.source.upstream) or self.all[0]).fit(asked)
        candidates = self.models().get(asked.model)
        if candidates is None:
            # Never replaced by another one: nobody pays for what was not asked for.
            message = f"There is no such model (allowed: {', '.join(self.models())})."
            raise ValidationError({"model": [ErrorDetail(message, code="not_offered")]})
        fitted: list[tuple[tuple[int, int, float], FittedRequest]] = []
        refusal: ValidationError | None = None
        for upstream in candidates:
            try:
                found = upstream.fit(asked)
            except ValidationError as error:
                refusal = refusal or error
            else:
                price = float("inf") if found.price is None else float(found.price)
                fitted.append(((len(found.adjustments), upstream.order, price), found))
        if not fitted:
            assert refusal is not None
            raise refusal
        return min(fitted, key=lambda each: each[0])[1]


def configured() -> Upstreams:
    """The upstreams of the settings, the same for the life of the process."""
    return _read()


@cache
def _read() -> Upstreams:
    if settings.UPSTREAMS_FILE:
        read = toml_file.read(settings.UPSTREAMS_FILE)
        return Upstreams(tuple(_built(entry) for entry in read.entries), read.default_model)
    return Upstreams.only(_built(environment.entry()))


def _built(entry: Entry) -> Upstream:
    client = ObservedClient(
        entry.base_url,
        entry.api_key,
        name=entry.name,
        dialect=entry.dialect,
        timeout=settings.SORA_TIMEOUT,
        retries=settings.SORA_MAX_RETRIES,
        retry_delay=settings.SORA_RETRY_DELAY,
        deadline=settings.SORA_TIMEOUT,
        content_hosts=entry.content_hosts,
    )
    return Upstream(
        name=entry.name,
        client=client,
        dialect=entry.dialect,
        catalogue=entry.catalogue,
        concurrency=entry.concurrency,
        deadline=settings.SORA_TIMEOUT,
        # Twice the call: what is left between the claim and the last check is its own deadline's length.
        lease=2 * settings.SORA_TIMEOUT + 2,
        order=entry.order,
        requests_per_minute=entry.requests_per_minute,
        bills_failed=entry.bills_failed,
        webhook_secrets=entry.webhook_secrets,
    )
