"""Query: which letters an address asks for, and how an address asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple
from urllib.parse import urlencode

from missive import DeadLetter, DeadLetterStore, format_id, parse_id
from missive.letters import Choice, LetterFilters, LetterState
from werkzeug.exceptions import BadRequest, NotFound

#: The ages that a list can be narrowed to: what the address says, and what the page does.
AGES = {
    "1h": "last hour",
    "24h": "last 24 hours",
    "7d": "last 7 days",
    "before-24h": "more than a day ago",
    "before-7d": "more than 7 days ago",
    "before-30d": "more than 30 days ago",
}
_UNITS = {"h": "hours", "d": "days"}
#: How many letters are searched for a text before a page is shown.
SEARCHED_AT_ONCE = 10_000
#: Up to how many ids a choice is remembered by: these are then looked up one by one.
FEW = 1000
#: The longest id that an address names; a letter with a longer one is named by its position.
_LONGEST_ID = 500
#: The largest position, as a store counts.
_LARGEST = 2**63 - 1
_TEXTS = ("group", "handler", "source", "error", "text", "id")


class Query(NamedTuple):
    """Which letters are meant.

    :ivar state: dead letters or deferred messages.
    :ivar text: found in reasons and headers, whatever its case.
    :ivar id: how an id begins.
    :ivar until: only letters that failed last before then; for a purge.
    """

    state: LetterState = "dead"
    group: str = ""
    handler: str = ""
    source: str = ""
    error: str = ""
    age: str = ""
    text: str = ""
    id: str = ""
    until: datetime | None = None

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Query:
        """Return what an address or a form asks for.

        :raises BadRequest: there is no such age or state.
        """
        given, age = args.get("state", "dead"), args.get("age", "")
        if given not in ("dead", "deferred"):
            raise BadRequest("The state of a letter is dead or deferred.")
        if age and age not in AGES:
            raise BadRequest("There is no such age; choose one from the list.")
        state: LetterState = "deferred" if given == "deferred" else "dead"
        group, handler, source, error, text, id = (args.get(name, "") for name in _TEXTS)
        return cls(state, group, handler, source, error, age, text, id)

    def address(self, **more: object) -> str:
        """Return the part of an address that asks for this; empty for all dead letters."""
        given = {name: value for name, value in self._asdict().items() if value and name != "until"}
        if self.state == "dead":
            given.pop("state")
        return urlencode({**given, **{name: value for name, value in more.items() if value}})

    def fields(self) -> dict[str, str]:
        """Return the fields of a form that asks for this."""
        return {
            name: str(value) for name, value in self._asdict().items() if value and name != "until"
        }

    @property
    def filters(self) -> LetterFilters:
        """What of this the store filters by."""
        found: LetterFilters = {"state": self.state}
        if self.group:
            found["group"] = self.group
        if self.handler:
            found["handler"] = "" if self.handler == "-" else self.handler
        if self.source:
            found["source"] = "" if self.source == "-" else self.source
        if self.error:
            found["error_type"] = "" if self.error == "-" else self.error
        if self.age:
            then = datetime.now(timezone.utc) - _span(self.age)
            found["until" if self.age.startswith("before-") else "since"] = then
        if self.until is not None:
            found["until"] = self.until
        return found

    @property
    def searches(self) -> bool:
        """Whether letters have to be read to find those that are meant."""
        return bool(self.text or self.id)

    def finds(self, letter: DeadLetter) -> bool:
        """Return whether a letter that the store's filters match is meant."""
        if self.id and not format_id(letter.id).startswith(self.id):
            return False
        if not self.text:
            return True
        text = self.text.casefold()
        return text in letter.reason.casefold() or any(
            text in name.casefold() or text in value.casefold()
            for name, value in letter.headers.items()
        )

    def words(self, numbers: Mapping[str, str]) -> str:
        """Return in words which letters are meant.

        :param numbers: the short numbers of groups, by their digits.
        """
        said = [
            f"group {numbers.get(self.group, self.group[:6])}" if self.group else "",
            f"handler {self.handler}" if self.handler else "",
            f"source {self.source}" if self.source else "",
            f"error {self.error}" if self.error else "",
            AGES.get(self.age, ""),
            f"last failed before {self.until:%Y-%m-%d %H:%M} UTC" if self.until else "",
            f"with “{self.text}”" if self.text else "",
            f"id {self.id}…" if self.id else "",
        ]
        kind = "dead letters" if self.state == "dead" else "deferred messages"
        chosen = ", ".join(filter(None, said))
        return f"{kind}: {chosen}" if chosen else f"all {kind}"


class Page(NamedTuple):
    """A page of a list.

    :ivar after: the position to go on after; None where there is nothing more.
    :ivar searched: how many letters were read, where not all of them are shown.
    """

    letters: list[DeadLetter]
    after: int | None
    searched: int


def read_page(store: DeadLetterStore, query: Query, after: int | None, limit: int) -> Page:
    """Return the newest letters that are meant.

    :param after: only those before this position, newest first.
    """
    whole = _whole(store, query)
    if whole is not None:
        return Page([whole], None, 1)
    searched_at_most = SEARCHED_AT_ONCE if query.searches else limit + 1
    found: list[DeadLetter] = []
    searched = 0
    last: int | None = None
    for letter in store.letters(
        limit=searched_at_most, after=after, newest_first=True, **query.filters
    ):
        if len(found) == limit:
            return Page(found, last, searched)
        searched += 1
        last = letter.position
        if query.finds(letter):
            found.append(letter)
    return Page(found, last if searched == searched_at_most else None, searched)


def _whole(store: DeadLetterStore, query: Query) -> DeadLetter | None:
    """Return the letter whose whole id was typed."""
    if not query.id:
        return None
    try:
        letter = store.letter(parse_id(query.id))
    except (KeyError, ValueError):
        return None
    return letter if letter.state == query.state and not query.text else None


def choose(store: DeadLetterStore, query: Query) -> tuple[Choice, list[bytes] | None]:
    """Choose the letters that are meant, as they stand now, and their ids where they are few."""
    filters = query.filters
    if not query.searches:
        return store.choose(**filters), None
    ids: list[bytes] = []
    found: list[tuple[int, int]] = []
    for letter in store.letters(**filters):
        if query.finds(letter):
            found.append((letter.position or 0, letter.failures))
            if len(ids) <= FEW:
                ids.append(letter.id)
    return Choice(filters, iter(found)), ids if len(ids) <= FEW else None


def letters_of(
    store: DeadLetterStore, choice: Choice, ids: list[bytes] | None
) -> Iterator[DeadLetter]:
    """Return the letters of a choice that stand as they were chosen."""
    if ids is None:
        yield from (letter for letter in store.letters(**choice.filters) if letter in choice)
        return
    for id in ids:
        try:
            letter = store.letter(id)
        except KeyError:
            continue
        if letter in choice:
            yield letter


def key_of(letter: DeadLetter) -> str:
    """Return what an address calls a letter by."""
    if 0 < len(letter.id) <= _LONGEST_ID:
        return letter.id.hex()
    return f"@{letter.position}"


def find_letter(store: DeadLetterStore, key: str) -> DeadLetter:
    """Return the letter that an address names.

    :raises NotFound: it is not there.
    """
    if key.startswith("@"):
        position = read_position(key[1:])
        if position is not None:
            for letter in store.letters(after=position - 1, limit=1, state=None):
                if letter.position == position:
                    return letter
        raise NotFound
    try:
        return store.letter(bytes.fromhex(key))
    except (KeyError, ValueError):
        raise NotFound from None


def read_position(text: str | None) -> int | None:
    """Return a position that an address names; None where it names none."""
    if not text or not text.isascii() or not text.isdecimal() or len(text) > len(str(_LARGEST)):
        return None
    return min(int(text), _LARGEST)


def _span(age: str) -> timedelta:
    text = age.removeprefix("before-")
    span: dict[str, Any] = {_UNITS[text[-1]]: int(text[:-1])}
    return timedelta(**span)
