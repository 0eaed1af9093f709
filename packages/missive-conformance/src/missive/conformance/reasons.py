"""Why a check is skipped: a sentence for each need that an adapter, a store or a harness may lack."""

from __future__ import annotations

#: By the name of what is missing, or by the whole need where the name alone would not tell.
SENTENCES = {
    # Capabilities of a transport.
    "binary_safe": "a transport of text cannot carry all bytes",
    "competing_consumers": "a transport without competing consumers cannot share work between processes",
    "crash_redelivery": "a transport that forgets what it delivered cannot redeliver after a crash",
    "delayed_nack": "a transport that cannot delay a nack cannot be asked to hold a message back",
    "delayed_nack=False": "a transport that delays nacks itself leaves no retries to the store",
    "delivery!=request-reply": "a transport whose sender waits for an answer has no messages that wait",
    "delivery=at-least-once": "a transport that delivers once may lose what a failure interrupts",
    "delivery=at-most-once": "a transport that redelivers has no message that a kill may lose",
    "delivery=request-reply": "a transport whose sender does not wait has nobody to answer",
    "delivery_count": "a transport that does not count deliveries cannot say how many there were",
    "delivery_count=False": "a transport that counts deliveries always knows how many there were",
    "empty_body": "a transport that carries no empty body cannot deliver one",
    "empty_body=False": "a transport that carries empty bodies has none to refuse",
    "headers": "a transport without headers cannot carry any",
    "headers=False": "a transport with headers has none to do without",
    "max_bytes": "a transport without a limit below 16 MiB has none that can be tried",
    "nack=drop-refused": "a transport that can refuse a message does not drop what was nacked",
    "nack=error-response": "a transport whose sender does not wait has nobody to tell of a failure",
    "nack=redeliver": "a transport that cannot redeliver cannot return a nacked message",
    "ordered_acks": "a transport that settles each message alone needs no order of acks",
    "ordered_acks=False": "a transport that needs its acks in order cannot settle later messages first",
    "ordering!=none": "a transport without an order has none to keep",
    "persistent": "a transport that does not keep messages cannot have them after a restart",
    "reconnects": "a transport without a connection has none to lose",
    "settles_across_connections=False": "a transport that settles on any connection accepts late acks",
    "stable_id": "a transport that gives no lasting ids cannot repeat one",
    # What the handlers of a run are.
    "handlers!=batch": "a batch handler that fails leaves the messages that it decided as they are",
    # Classes that a subject may have.
    "DeadLetterStore": "a plain mapping has none of a dead letter store's methods",
    "InboxStore": "a store without an inbox cannot receive webhooks",
    "PollingAdapter": "an adapter without a receive loop has no workers, pauses or reconnections",
    # What a harness may offer.
    "corrupt": "the harness offers no way to damage the store",
    "counts_each": "a transport that keeps no more than a position cannot count what is settled",
    "down": "the harness offers no way to stop the broker",
    "endpoint": "the harness names no address that a proxy could stand before",
    "fan_out": "a transport that gives each message to one adapter does not give it to all",
    "foreign": "the harness offers no file of something else",
    "kill": "the harness offers no way to kill the broker",
    "locked": "the harness offers no way to lock the store",
    "max_deliveries": "an adapter without max_deliveries never rejects what ends its process",
    "missing_adapter": "the harness builds no adapter for something that does not exist",
    "newer": "the harness offers no store of a later version",
    "no own_dlq": "an adapter that brings its own DLQ does not use the processor's",
    "no run_ends": "an adapter that returns when nothing is left cannot be watched while it waits",
    "older": "the harness offers no store of an earlier version",
    "harness.persistent": "a store that is in memory alone holds nothing when it is opened again",
    "proxied": "the harness cannot send its adapters through a proxy",
    "reaches_processes": "a transport in this process's memory cannot be reached from another process",
    "read_only": "the harness offers no way to make the store unwritable",
    "refused_adapter": "the harness builds no adapter with wrong credentials",
    "shared": "a store that one process at a time may open cannot have several writers",
    "sources": "an adapter with a single source cannot tell several apart",
    "unreachable_adapter": "the harness builds no adapter for an address where nothing listens",
    "up": "the harness offers no way to start the broker again",
    "url": "the harness names no URL to build an adapter from",
}


def reason(need: str) -> str:
    """Return why a check that has this need is skipped, as a sentence without its capital and stop."""
    plain = need.replace("harness.", "")
    name = plain.split("<")[0]
    for key in (need, plain, name):
        if key in SENTENCES:
            return SENTENCES[key]
    return f"the check needs {need}, which is not met"
