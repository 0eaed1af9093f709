"""Dead letters and deferred messages: their record, and the stores that keep them."""

from ..delivery import Stage
from .accounts import check_tally
from .actions import MAX_ACTION_IDS, Action
from .choice import Choice
from .claim import MAX_LEASE, Claim, check_lease, this_process
from .columns import group_number, headers_from_json, headers_to_json, summary_digest
from .division import divide, join
from .due import check_deferred, check_restored
from .filters import LetterFilters, check_filters, time_before
from .groups import (
    Group,
    Kind,
    group_letters,
    kind_from,
    kind_of,
    masked_reason,
    number_of,
    numbered,
    shown_reason,
)
from .inbox import InboxStore, Receipt, inbox_key, received_letter
from .letter import MAX_HISTORY, DeadLetter, Failure, LetterState, qualified_name, utc_now
from .mapping import check_key
from .memory import MemoryDLQ
from .placing import find_place
from .prefixes import shared_beginning, shortest_prefixes
from .pytest_file import named, write_test
from .records import to_record
from .store import DLQ, DeadLetterStore
from .summary import Counts, SummaryRow, summarize
from .tracebacks import MAX_REASON, MAX_TRACEBACK, format_traceback, shortened

__all__ = [
    "DLQ",
    "MAX_ACTION_IDS",
    "MAX_HISTORY",
    "MAX_LEASE",
    "MAX_REASON",
    "MAX_TRACEBACK",
    "Action",
    "Choice",
    "Claim",
    "Counts",
    "DeadLetter",
    "DeadLetterStore",
    "Failure",
    "Group",
    "InboxStore",
    "Kind",
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
    "check_tally",
    "divide",
    "find_place",
    "format_traceback",
    "group_letters",
    "group_number",
    "headers_from_json",
    "headers_to_json",
    "inbox_key",
    "join",
    "kind_from",
    "kind_of",
    "masked_reason",
    "named",
    "number_of",
    "numbered",
    "qualified_name",
    "received_letter",
    "shared_beginning",
    "shortest_prefixes",
    "shortened",
    "shown_reason",
    "summarize",
    "summary_digest",
    "this_process",
    "time_before",
    "to_record",
    "utc_now",
    "write_test",
]
