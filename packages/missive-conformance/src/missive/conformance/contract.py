"""The contract's points: what each check is called, when it applies, and how a breach reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

#: When a check runs: each of the first three profiles holds those before it; faults stands alone.
Profile = Literal["quick", "full", "stress", "faults"]
#: The checks that each profile runs.
PROFILES: dict[str, frozenset[str]] = {
    "quick": frozenset({"quick"}),
    "full": frozenset({"quick", "full"}),
    "stress": frozenset({"quick", "full", "stress"}),
    "faults": frozenset({"faults"}),
}


def wanted_by(profiles: Iterable[str]) -> frozenset[str]:
    """Return the profiles of the checks that run when these profiles are asked for."""
    return frozenset(name for profile in profiles for name in PROFILES[profile])


#: The attribute of a test function that holds its :class:`Check`.
MARK = "__missive_check__"


@dataclass(frozen=True)
class Check:
    """One point of the contract, as a test.

    :ivar id: permanent: ``A01`` for adapters, ``D01`` for dead letter stores; never used again.
    :ivar sentence: what the contract asks, in one sentence.
    :ivar since: the version of the contract (of missive-core) that it holds from.
    :ivar profile: the smallest profile that runs it.
    :ivar needs: what an adapter or store must have for the check to make sense; see :func:`check`.
    :ivar read: the section of the documentation that tells more.
    """

    id: str
    sentence: str
    since: str
    profile: Profile
    needs: tuple[str, ...]
    read: str


class ContractBroken(AssertionError):
    """What a check saw is not what the contract asks.

    :ivar seen: what was seen, in words, without a message's content.
    """

    def __init__(self, seen: str) -> None:
        super().__init__(seen)
        self.seen = seen


class NotOffered(Exception):
    """A harness was asked for something that it does not offer.

    :ivar hook: the name of the method that the harness could write.
    """

    def __init__(self, hook: str) -> None:
        super().__init__(f"the harness does not offer {hook}")
        self.hook = hook


class BrokerMissing(Exception):
    """The server that a harness needs is not there; raise it from ``start`` with a remedy."""


def check(
    id: str,
    *,
    since: str = "0.1",
    profile: Profile = "quick",
    needs: tuple[str, ...] = (),
    read: str,
) -> Callable[[F], F]:
    """Make a test method a point of the contract; its docstring is the sentence.

    :param id: the permanent id.
    :param since: the version of missive-core that it holds from.
    :param profile: the smallest profile that runs it.
    :param needs: requirements, all of which must be met: ``"headers"`` (a capability that is true),
        ``"nack=redeliver"`` and ``"nack!=redeliver"`` (a capability with, or without, a value),
        ``"max_bytes<=1000"``, ``"PollingAdapter"`` (a base class), ``"harness.kill"`` (something
        the harness offers), ``"no harness.own_dlq"`` (the opposite of another need),
        ``"handlers!=batch"`` (what a run's handlers are).
    :param read: the section of the documentation to read on in.
    """

    def mark(function: F) -> F:
        sentence = " ".join((function.__doc__ or "").split())
        if not sentence:
            raise TypeError(f"{function.__qualname__} needs a docstring: what the contract asks")
        setattr(function, MARK, Check(id, sentence, since, profile, needs, read))
        return function

    return mark


def check_of(function: object) -> Check | None:
    """Return the point of the contract that a test function checks, or None."""
    found = getattr(function, MARK, None)
    return found if isinstance(found, Check) else None


def checks_in(suite: type) -> Iterator[tuple[str, Check]]:
    """Return the checks of a suite with the names of their methods, by id."""
    found = [
        (name, point)
        for name in dir(suite)
        if (point := check_of(getattr(suite, name))) is not None
    ]
    yield from sorted(found, key=lambda pair: pair[1].id)


def expect(condition: object, seen: str) -> None:
    """Make sure that the contract is kept.

    :param condition: what must be true.
    :param seen: what was seen instead, for the author of the adapter.
    :raises ContractBroken: it is not.
    """
    if not condition:
        raise ContractBroken(seen)


def explain(point: Check, subject: str, seen: str) -> str:
    """Tell the author of an adapter or a store what is wrong, without the kit's source.

    :param subject: the name of the adapter or store.
    """
    return (
        f"{point.id} {subject} does not keep the contract (point {point.id}, since"
        f" {point.since})\n"
        f"  the contract asks: {point.sentence}\n"
        f"  what was seen:     {seen}\n"
        f"  read on:           docs: conformance#{point.id}, and {point.read}"
    )
