"""Prefixes: the shortest beginning by which one text is told from the others."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise


def shortest_prefixes(texts: Iterable[str], least: int) -> dict[str, str]:
    """Return for each text its shortest beginning that no other text has.

    :param least: a beginning has as many characters, where the text has.
    """
    ordered = sorted(set(texts))
    if not ordered:
        return {}
    shared = [0, *(shared_beginning(one, other) for one, other in pairwise(ordered)), 0]
    return {
        text: text[: max(least, before + 1, after + 1)]
        for text, (before, after) in zip(ordered, pairwise(shared), strict=True)
    }


def shared_beginning(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    for count, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return count
    return min(len(one), len(other))
