"""A process of a crowd: its threads defer messages, and claim and remove those of all."""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path

from missive import DeadLetter, RawMessage
from missive.dlq.postgresql import PostgreSQLDLQ
from missive.letters import utc_now

THREADS = 4


def main(conninfo: str, name: str, count: int, ledger: Path, pause: float) -> None:
    """Write messages and handle messages in as many threads each.

    :param name: of this process; part of the ids of its messages.
    :param count: how many messages each thread defers.
    :param ledger: a file that each message removed is noted in.
    :param pause: how long a handler takes, in seconds.
    """
    store = PostgreSQLDLQ(conninfo, busy_timeout=120)
    written = threading.Barrier(THREADS + 1)
    lock = threading.Lock()

    def write(thread: int) -> None:
        chance = random.Random(f"{name} {thread}")
        number = 0
        while number < count:
            batch = []
            for _ in range(min(chance.randint(1, 5), count - number)):
                letter = DeadLetter.from_failure(
                    RawMessage(b"x"), stage="handling", reason="later", due=utc_now()
                )
                id = f"{name}-{thread}-{number}".encode()
                batch.append(letter._replace(id=id, message_id=id))
                number += 1
            store.defer(batch)
        written.wait()

    def handle() -> None:
        while not over.is_set():
            found = store.claim_due(3, 60.0)
            for claim, letter in found:
                time.sleep(pause)
                removed = store.remove(claim)
                with lock, ledger.open("ab") as file:
                    file.write(b"%b %d\n" % (letter.id, removed))
            if not found:
                over.wait(0.01)

    over = threading.Event()
    handlers = [threading.Thread(target=handle) for _ in range(THREADS)]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
    for thread in (*handlers, *writers):
        thread.start()
    written.wait()
    print("written", flush=True)
    sys.stdin.readline()
    over.set()
    for thread in (*handlers, *writers):
        thread.join()
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), float(sys.argv[5]))
