"""Claims: a letter is handled by one at a time."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from missive import ConfigurationError
from missive.letters import MAX_LEASE

from ..contract import check, expect
from ..dlq_lab import DLQLab, claimed, letter, message
from ..lab import wait_until
from .store import STORE

READ = "dead-letters#claims"


class ClaimChecks:
    """Claims."""

    @check("D28", needs=STORE, read="dead-letters#claims")
    def test_d28_a_letter_is_claimed_once(self, lab: DLQLab) -> None:
        """Of several that claim a letter at once, exactly one gets it; others get None."""
        store = lab.open()
        store.put(letter(1))
        start = threading.Barrier(6)
        claims: list[Any] = []

        def claim() -> None:
            start.wait(lab.patience)
            claims.append(store.claim(b"letter-1"))

        threads = [threading.Thread(target=claim) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(lab.patience)
        won = [one for one in claims if one is not None]
        expect(len(claims) == 6, f"{6 - len(claims)} of 6 calls raised or hang")
        expect(len(won) == 1, f"{len(won)} of 6 were given the claim")
        expect(store.claim(b"missing") is None, "a letter that is not there was claimed")

    @check("D29", needs=STORE, read="dead-letters#claims")
    def test_d29_a_claim_can_be_given_back(self, lab: DLQLab) -> None:
        """A released letter stays and can be claimed again; a claim given back is worth nothing."""
        store = lab.open()
        store.put(letter(1))
        claim = claimed(store, b"letter-1")
        expect(store.release(claim) is True, "release() of a claim that is held says False")
        expect(store.release(claim) is False, "release() of a claim given back says True")
        expect(store.remove(claim) is False, "a claim given back could still remove the letter")
        expect(b"letter-1" in store, "the letter is gone")
        expect(store.claim(b"letter-1") is not None, "the letter cannot be claimed again")

    @check("D30", needs=STORE, read="dead-letters#claims")
    def test_d30_a_claimed_letter_can_be_removed(self, lab: DLQLab) -> None:
        """remove() takes a claimed letter out, once."""
        store = lab.open()
        store.put_many([letter(1), letter(2)])
        claim = claimed(store, b"letter-1")
        expect(store.remove(claim) is True, "remove() of a claimed letter says False")
        expect(list(store) == [b"letter-2"], f"{len(store)} letters are left, or the wrong one")
        expect(store.remove(claim) is False, "remove() of a letter that is gone says True")

    @check("D31", needs=STORE, read="dead-letters#claims")
    def test_d31_what_failed_again_is_not_removed(self, lab: DLQLab) -> None:
        """A letter that failed again after it was claimed is not removed by that claim."""
        store = lab.open()
        store.put(letter(1))
        claim = claimed(store, b"letter-1")
        store.put(letter(2, id=b"letter-1"))
        expect(store.remove(claim) is False, "remove() says True")
        expect(b"letter-1" in store, "the letter was removed, and its newer failure with it")

    @check("D32", needs=STORE, read="dead-letters#claims")
    def test_d32_a_claim_expires(self, lab: DLQLab) -> None:
        """A claim that is not used in its time is free for another, and then worth nothing."""
        store = lab.open()
        store.put(letter(1))
        first = claimed(store, b"letter-1", lease=0.05)
        second: list[Any] = []

        def claimed_again() -> bool:
            second[:] = [store.claim(b"letter-1")]
            return second[0] is not None

        wait_until(claimed_again, lab.patience, "a claim with a lease of 0.05 s did not expire")
        expect(store.remove(first) is False, "an expired claim could still remove the letter")
        expect(store.remove(second[0][0]) is True, "the newer claim cannot remove the letter")

    @check("D41", needs=STORE, read="dead-letters#claims")
    def test_d41_a_claim_ends_with_its_letter(self, lab: DLQLab) -> None:
        """When another message takes a claimed letter's place, the claim removes nothing."""
        store = lab.open()
        store.put_many([letter(1), letter(2)])
        claims = [claimed(store, b"letter-1"), claimed(store, b"letter-2")]
        store.restore(letter(1, b"another body"))
        store[b"letter-2"] = (message(b"another body"), "a reason")
        for claim, how in zip(claims, ("restore()", "assignment"), strict=True):
            expect(store.remove(claim) is False, f"after {how}, remove() says True")
            expect(claim.id in store, f"what came by {how} was removed by the claim on the former")

    @check("D43", needs=STORE, read="dead-letters#claims")
    def test_d43_the_claim_in_force_can_be_told(self, lab: DLQLab) -> None:
        """claim_of() tells until when a letter is claimed, if the store can say, and nothing of a
        letter that is not claimed any more.
        """
        store = lab.open()
        store.put(letter(1))
        expect(store.claim_of(b"letter-1") is None, "it tells a claim on a letter without one")
        claim, _ = store.claim(b"letter-1")
        told = store.claim_of(b"letter-1")
        expect(told is None or told.expires == claim.expires, "it tells another end of the claim")
        expect(told is None or told.id == claim.id, "it tells the claim on another letter")
        store.release(claim)
        expect(store.claim_of(b"letter-1") is None, "it tells a claim that was given back")

    @check("D44", since="0.2", needs=STORE, read=READ)
    def test_d44_a_claim_can_be_renewed(self, lab: DLQLab) -> None:
        """A claim that is renewed, even after its end, holds for longer where nobody else has the
        letter.
        """
        store = lab.open()
        store.put(letter(1))
        claim = claimed(store, b"letter-1", lease=0)
        renewed = store.renew(claim, lease=600.0)
        expect(renewed is not None, "a claim that nobody else took could not be renewed")
        expect(renewed.expires > claim.expires, "a renewed claim ends no later")
        expect(store.claim(b"letter-1") is None, "what is claimed again can be claimed by another")
        expect(store.remove(claim) is True, "the renewed claim cannot remove its letter")
        expect(store.renew(claim) is None, "the claim on a letter that is gone could be renewed")

    @check("D45", since="0.2", needs=STORE, read=READ)
    def test_d45_a_claim_is_on_one_letter(self, lab: DLQLab) -> None:
        """A claim removes no letter that came anew under the id; another failure leaves it in
        force.
        """
        store = lab.open()
        store.put_many([letter(1), letter(2, source=None)])
        gone, failing = claimed(store, b"letter-1"), claimed(store, b"letter-2")
        del store[b"letter-1"]
        store.put(letter(1))
        expect(store.remove(gone) is False, "a claim on a letter that had gone removed a new one")
        store[b"letter-2"] = (message(b"letter-2"), "failed again")
        expect(store.claim(b"letter-2") is None, "a failure ended the claim on a dead letter")
        expect(store.remove(failing) is False, "a letter that failed again was removed")
        expect(store.release(failing) is True, "the claim could not be given back")

    @check("D46", since="0.2", needs=STORE, read=READ)
    def test_d46_a_senseless_lease_is_refused(self, lab: DLQLab) -> None:
        """A lease that is negative, no number or longer than thirty days is refused by
        ConfigurationError.
        """
        store = lab.open()
        store.put(letter(1))
        claim = claimed(store, b"letter-1", lease=MAX_LEASE)
        for lease in (-1.0, float("nan"), float("inf"), MAX_LEASE + 1.0):
            for what, call in (
                ("claim()", partial(store.claim, b"letter-1")),
                ("claim_due()", partial(store.claim_due, 1)),
                ("renew()", partial(store.renew, claim)),
            ):
                try:
                    call(lease=lease)
                except ConfigurationError:
                    continue
                expect(False, f"{what} took a lease of {lease} s")
