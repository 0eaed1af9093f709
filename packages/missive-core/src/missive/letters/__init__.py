"""Dead letters and deferred messages: their record, and the stores that keep them."""

from ..delivery import Stage
from .choice import Choice
from .claim import MAX_LEASE, Claim, check_lease, this_process
from .due import check_deferred, check_restored
from .filters import LetterFilters, check_filters, time_before
from .inbox import InboxStore, Receipt, inbox_key, received_letter
from .letter import MAX_HISTORY, DeadLetter, Failure, LetterState, qualified_name, utc_now
from .mapping import check_key
from .memory import MemoryDLQ
from .store import DLQ, DeadLetterStore
from .summary import Counts, SummaryRow, summarize
from .texts import shortened
from .tracebacks import MAX_REASON, MAX_TRACEBACK, format_traceback

__all__ = [
    "DLQ",
    "MAX_HISTORY",
    "MAX_LEASE",
    "MAX_REASON",
    "MAX_TRACEBACK",
    "Choice",
    "Claim",
    "Counts",
    "DeadLetter",
    "DeadLetterStore",
    "Failure",
    "InboxStore",
    "LetterFilters",
    "LetterState",
    "MemoryDLQ",
    "Receipt",
    "Stage",
    "SummaryRow",
    "check_deferred",
    "check_filters",
    "check_key",
    "check_lease",
    "check_restored",
    "format_traceback",
    "inbox_key",
    "qualified_name",
    "received_letter",
    "shortened",
    "summarize",
    "this_process",
    "time_before",
    "utc_now",
]
