"""Keeping letters: what is written of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from missive import DeadLetter
from missive.letters import Failure, Receipt, find_place, inbox_key
from psycopg import Rollback
from psycopg.errors import FeatureNotSupported, UniqueViolation

from .copying import copied
from .rows import letter_values, to_key, to_letter
from .session import Session
from .statements import Statements

#: The most that letters of one statement may hold, in bytes; PostgreSQL's own bound is 1 GB.
MAX_STATEMENT = 64 * 1_048_576


class Keeper:
    """Writes letters.

    :param statements: the statements of the store that it writes to.
    """

    def __init__(self, statements: Statements) -> None:
        self._sql = statements

    def insert_new(
        self, session: Session, letters: Sequence[DeadLetter], *, beside: bool = True
    ) -> bool:
        """Insert letters by one INSERT or COPY, all or none; return whether they were.

        They are not where an id is taken, where they are too large for one statement, or where it
        is not known that nothing is kept beside an id.

        :param beside: make sure that no letter is kept beside one of the ids.
        """
        if len({letter.id for letter in letters}) < len(letters):
            return False
        if sum(map(_size, letters)) > MAX_STATEMENT:
            return False
        others = [to_key(letter.beside_id()) for letter in letters] if beside else []
        try:
            if len(letters) == 1:
                (values,) = map(letter_values, letters)
                values = (*values, values[0], *(others or values[:1]))
                return session.execute(self._sql.insert_new_one, values).rowcount == 1
            if others and session.execute(self._sql.any_taken, (others,)).rowcount:
                return False
            session.copy(self._sql.copy, copied(letters))
        except (UniqueViolation, FeatureNotSupported):  # of COPY, where rows have policies
            return False
        return True

    def put_all(self, session: Session, letters: Sequence[DeadLetter], again: bool) -> None:
        """Keep letters whose ids may be taken, one by one in one transaction.

        :param again: what is there already of these very failures is not counted twice.
        """
        with session.transaction():
            # All at once and in one order, so that two batches do not wait for each other.
            keys = [to_key(letter.id) for letter in letters]
            session.execute(self._sql.lock, (keys,))
            for letter in letters:
                self._put(session, letter, again)

    def _put(self, session: Session, letter: DeadLetter, again: bool) -> None:
        while True:
            stored, id = find_place(letter, partial(self._found, session, letter))
            if stored is not None:
                if not again or _failure_of(letter) not in stored.history:
                    self._fail_again(session, stored, letter)
                return
            if self._insert(session, letter._replace(id=id)):
                return

    def _found(
        self, session: Session, letter: DeadLetter, id: bytes
    ) -> tuple[DeadLetter, bool] | None:
        stored = self.stored(session, id)
        return None if stored is None else (stored, stored.is_same_message(letter))

    def stored(self, session: Session, id: bytes) -> DeadLetter | None:
        """Return the letter with an id, locked until the end of the transaction."""
        row = session.execute(self._sql.letter_for_update, (to_key(id),)).fetchone()
        return None if row is None else to_letter(row)

    def _insert(self, session: Session, letter: DeadLetter) -> bool:
        """Insert a letter; return False where its id was taken meanwhile."""
        values = letter_values(letter.with_history())
        return session.execute(self._sql.insert, values).rowcount == 1

    def _fail_again(self, session: Session, stored: DeadLetter, letter: DeadLetter) -> None:
        keep_claim = stored.state == letter.state == "dead"
        self._update(session, stored, stored.failed_again(letter), keep_claim=keep_claim)

    def _update(
        self, session: Session, stored: DeadLetter, letter: DeadLetter, *, keep_claim: bool
    ) -> None:
        session.execute(self._sql.update, (*letter_values(letter), stored.position))
        if not keep_claim:
            session.execute(self._sql.end_claim, (stored.position,))

    def restore_all(self, session: Session, letters: Sequence[DeadLetter]) -> None:
        """Keep letters exactly as they are, each in the place of the one with its id."""
        with session.transaction():
            session.execute(self._sql.lock, ([to_key(letter.id) for letter in letters],))
            for letter in letters:
                self._restore(session, letter)

    def _restore(self, session: Session, letter: DeadLetter) -> None:
        while not self._insert(session, letter):
            stored = self.stored(session, letter.id)
            if stored is not None:
                self._update(session, stored, letter.with_history(), keep_claim=False)
                return

    def receive(self, session: Session, letters: Sequence[DeadLetter]) -> list[Receipt]:
        """Keep messages of an inbox that were not received before, in one transaction."""
        if letters and self._receive_new(session, letters):
            return [Receipt.NEW] * len(letters)
        with session.transaction():
            return [self._receive(session, letter) for letter in letters]

    def _receive_new(self, session: Session, letters: Sequence[DeadLetter]) -> bool:
        """Keep messages that are all new, by a few statements however many; return whether they were.

        Where one is not, nothing is kept. Records before letters, as :meth:`_receive` has it, and in
        one order: so no two that receive the same messages wait for each other.
        """
        keys = [inbox_key(letter) for letter in letters]
        origins = [origin for origin, _ in keys]
        if len(set(origins)) < len(origins):
            return False
        whole = [origin + body for origin, body in keys]
        last = [origin + b"\xff" * len(body) for origin, body in keys]
        new = False
        with session.transaction():
            new = (
                session.execute(self._sql.receive_all, (sorted(whole),)).rowcount == len(whole)
                and not session.execute(self._sql.any_beside, (whole, origins, last)).rowcount
                and self.insert_new(session, letters)
            )
            if not new:
                raise Rollback
            ids = [to_key(letter.id) for letter in letters]
            session.execute_each(self._sql.set_received, list(zip(ids, whole, strict=True)))
        return new

    def _receive(self, session: Session, letter: DeadLetter) -> Receipt:
        origin, body = inbox_key(letter)
        key = origin + body
        # Another transaction that receives the same message is waited for here.
        if not session.execute(self._sql.receive, (key,)).rowcount:
            return Receipt.KNOWN
        between = (origin, origin + b"\xff" * len(body), key)
        others = session.execute(self._sql.received_between, between).rowcount
        receipt = Receipt.BESIDE if others else Receipt.NEW
        while True:
            stored, id = find_place(letter, partial(self._found, session, letter))
            if stored is not None:
                receipt = Receipt.KNOWN
            elif not self._insert(session, letter._replace(id=id)):
                continue
            session.execute(self._sql.set_received, (to_key(id), key))
            return receipt

    def assign(self, session: Session, letter: DeadLetter, again: bool) -> None:
        """Keep a letter under its id, whatever is stored there; within a transaction."""
        while not self._insert(session, letter):
            stored = self.stored(session, letter.id)
            if stored is None:
                continue
            if not stored.is_same_message(letter):
                self._update(session, stored, letter.with_history(), keep_claim=False)
            elif not again or _failure_of(letter) not in stored.history:
                stored = stored._replace(message_id=letter.message_id)
                self._fail_again(session, stored, letter)
            return


def _failure_of(letter: DeadLetter) -> Failure:
    return letter._replace(history=()).with_history().history[0]


def _size(letter: DeadLetter) -> int:
    return len(letter.raw_data) + len(letter.reason) + len(letter.traceback or "")
