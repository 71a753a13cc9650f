"""One POST, what proves that it never left, what an answer means, and what may be shown."""

from typing import Final

from tests.faults.guards.guard import Guard

_CLIENT = "upstreams/client/client.py"
_TRANSPORT = "upstreams/client/transport.py"
_EXCHANGE = "upstreams/client/exchange.py"
_ANSWERS = "upstreams/client/answers.py"
_TYPES = "upstreams/client/types.py"
_BUDGET = "upstreams/client/retry_budget.py"
_REDACTION = "upstreams/client/redaction.py"
_POST = "tests/sora/test_create_transport.py"
_MEANING = "tests/sora/test_create_answers.py"
_RETRIES = "tests/sora/test_budget.py"
_SECRETS = "tests/sora/test_secrets.py"

GUARDS: Final = (
    Guard(
        "a create follows no redirect",
        _EXCHANGE,
        "        return None\n\n    def location",
        "        return super().get_redirect_target(resp)\n\n    def location",
        f"{_POST} -k redirects_are_not_followed",
        (("allow_redirects=False,\n", "allow_redirects=True,\n"),),
    ),
    Guard(
        "the body of a redirect is read with a cap",
        _EXCHANGE,
        "        return None\n\n    def location",
        "        return super().get_redirect_target(resp)\n\n    def location",
        f"{_POST} -k redirect",
    ),
    Guard(
        "the transport repeats no POST",
        _EXCHANGE,
        "WatchedAdapter(pool_maxsize=_POOL_SIZE)",
        'WatchedAdapter(pool_maxsize=_POOL_SIZE, max_retries=__import__("urllib3")'
        ".Retry(2, allowed_methods=None, redirect=0))",
        _POST,
    ),
    Guard(
        "the client repeats no create",
        _CLIENT,
        "    def create(self,",
        "    @tenacity.retry(\n        stop=tenacity.stop_after_attempt(2),\n"
        "        retry=tenacity.retry_if_exception_type((Busy, OutcomeUnknown)),\n        reraise=True,\n"
        "    )\n    def create(self,",
        _POST,
    ),
    Guard(
        "a create has a connection of its own",
        _CLIENT,
        '        with Session() as session:\n            session.headers["Connection"] = "close"\n',
        "        with contextlib.nullcontext(self._session) as session:\n",
        f"{_POST} -k kept_alive",
    ),
    Guard(
        "no connection is no proof where the transport was not ours",
        _TRANSPORT,
        "return self.handed and not self.connected",
        "return not self.connected",
        _MEANING,
    ),
    Guard(
        "a connection that was made is no proof",
        _TRANSPORT,
        "            watch.connected = True\n\n",
        "            pass\n\n",
        _POST,
    ),
    Guard(
        "what was sent is not told by the exception's type",
        _EXCHANGE,
        "if not watch.proves_unsent:",
        "if not isinstance(error, requests.ConnectionError):",
        _POST,
    ),
    Guard(
        "a proxy whose sockets are not ours is refused",
        _TRANSPORT,
        'if proxy.lower().startswith("socks"):',
        "if False:",
        f"{_POST} -k proxy",
    ),
    Guard(
        "a call ends at its deadline",
        _TRANSPORT,
        "            self._expired = True\n            for duplicate in self._sockets:\n",
        "            self._expired = True\n            for duplicate in ():\n",
        _POST,
    ),
    Guard(
        "nothing leaves once the deadline has passed",
        _EXCHANGE,
        "    if left <= 0:\n",
        "    if False:\n",
        f"{_POST} -k deadline_has_passed",
    ),
    Guard(
        "a connection made after the deadline is not used",
        _TRANSPORT,
        "                if not watch.add(connection):\n",
        "                if watch.add(connection) is None:\n",
        f"{_POST} -k connection_made_after",
        (("            if watch.remaining() <= 0:\n", "            if False:\n"),),
    ),
    Guard(
        "a connection that was made before a freeze is not used after the deadline",
        _TRANSPORT,
        "            if watch.remaining() <= 0:\n",
        "            if False:\n",
        f"{_POST} -k was_frozen",
    ),
    Guard(
        "a 2xx without a usable id is unknown",
        _ANSWERS,
        'raise OutcomeUnknown(f"accepted ({status}), but {error}", answered=False) from error',
        'raise Rejected(str(error), status=status, code="unreadable", param=None) from error',
        _MEANING,
    ),
    Guard(
        "a 4xx without an explanation is unknown",
        _ANSWERS,
        "    complaint = complaint_of(answer, redactor)\n    if 400 <= status < 500 and status not in "
        "_AMBIGUOUS and complaint is not None:",
        '    complaint = complaint_of(answer, redactor) or Complaint("refused")\n'
        "    if 400 <= status < 500 and status not in _AMBIGUOUS:",
        _MEANING,
    ),
    Guard(
        "408, 409 and 425 are unknown",
        _ANSWERS,
        "_AMBIGUOUS = frozenset({408, 409, 425})",
        "_AMBIGUOUS = frozenset[int]()",
        _MEANING,
    ),
    Guard(
        "a 5xx is unknown",
        _ANSWERS,
        "    raise OutcomeUnknown(\n        _summary(answer, complaint), answered=status >= 300, ",
        "    raise Busy(\n        _summary(answer, complaint), ",
        _MEANING,
    ),
    Guard(
        "a create of unknown outcome says how long to wait",
        _ANSWERS,
        "answered=status >= 300, retry_after=retry_after(answer.headers)",
        "answered=status >= 300",
        _MEANING,
    ),
    Guard(
        "401, 402 and 403 are our own fault",
        _ANSWERS,
        "if answer.status in _CONFIGURATION:",
        "if False:",
        _MEANING,
    ),
    Guard(
        "an upstream that is down is asked once per call",
        _CLIENT,
        "                or not self._budget.allows_retry()\n",
        "",
        _RETRIES,
    ),
    Guard(
        "what fails spends the retries of all calls",
        _CLIENT,
        "                self._budget.spend()\n",
        "",
        _RETRIES,
    ),
    Guard(
        "successes allow retries again",
        _CLIENT,
        "            self._budget.refill()\n",
        "",
        _RETRIES,
    ),
    Guard(
        "a refusal spends no retry",
        _CLIENT,
        "            except (Busy, Unavailable):\n",
        "            except Exception:\n",
        _RETRIES,
    ),
    Guard(
        "long health saves up no retries",
        _BUDGET,
        "min(self._tokens + TOKENS_PER_SUCCESS, MAX_TOKENS)",
        "self._tokens + TOKENS_PER_SUCCESS",
        _RETRIES,
    ),
    Guard(
        "threads that share a client lose no count of retries",
        _BUDGET,
        "        with self._lock:\n            self._tokens = max(",
        "        if True:\n            self._tokens = max(",
        _RETRIES,
    ),
    Guard(
        "a list that does not move on is not at its end",
        _CLIENT,
        "if after is not None and page.next_after == after:",
        "if False:",
        "tests/sora/test_reads.py -k list",
    ),
    Guard(
        "an entry of the list that cannot be read is counted",
        _TYPES,
        "            except Unreadable:\n                unreadable += 1",
        "            except Unreadable:\n                pass",
        "tests/sora/test_types.py",
    ),
    Guard(
        "a list that breaks off is not at its end",
        _TYPES,
        '        if goes_on and payload.get("has_more") is True and next_after is None:',
        "        if False:",
        "tests/sora/test_types.py",
    ),
    Guard(
        "ids that would change a path are refused",
        _TYPES,
        'c.isspace() or c in "/\\\\"',
        "c.isspace()",
        "tests/sora/test_types.py",
    ),
    Guard(
        "what lacks an echo matches nothing",
        "upstreams/client/dialects.py",
        "            if value is None:\n                return None\n            echoed[field] = value",
        '            echoed[field] = value or ""',
        "tests/sora/test_dialects.py",
    ),
    Guard(
        "a dialect without echo matches nothing",
        "upstreams/client/dialects.py",
        "hexdigest() if echoed else None",
        "hexdigest()",
        "tests/sora/test_dialects.py",
    ),
    Guard(
        "a file that is cut short by the deadline is noticed",
        "upstreams/client/downloads.py",
        "the regular end of a body without a length.\n    if watch.expired:\n",
        "the regular end of a body without a length.\n    if False:\n",
        "tests/sora/test_download.py -k deadline",
    ),
    Guard(
        "a page with status 200 is no file",
        "upstreams/client/downloads.py",
        'if "json" in content_type or "html" in content_type:',
        "if False:",
        "tests/sora/test_download.py -k status_200",
    ),
    Guard(
        "the key goes to no other host",
        "upstreams/client/downloads.py",
        'BearerAuth("") if session.strips_auth(request.url, target) else request.auth',
        "request.auth",
        "tests/sora/test_download.py -k redirects",
    ),
    Guard(
        "no text shows the key or a prompt",
        _REDACTION,
        "        if self._pattern is not None:\n            text = self._pattern",
        "        if False:\n            text = self._pattern",
        f"{_SECRETS} {_MEANING}",
    ),
    Guard(
        "no log shows an unknown header",
        _REDACTION,
        'self.text(str(value)) if _SHOWN_HEADERS.fullmatch(name) else "<redacted>"',
        "self.text(str(value))",
        _SECRETS,
    ),
    Guard(
        "no log shows another's prompt",
        _REDACTION,
        'if "prompt" in key.lower() and isinstance(value, str)',
        "if False",
        _SECRETS,
    ),
)
