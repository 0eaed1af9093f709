"""The conformance kit: judges an adapter or a dead letter store by the contract it claims
to keep.
"""

from .__about__ import __version__
from .adapter_suite import AdapterConformance
from .contract import BrokerMissing, Check, ContractBroken, NotOffered
from .dlq_suite import DLQConformance
from .harness import AdapterHarness, DLQHarness
from .ledger import Account, Ledger, balance
from .proxy import Proxy
from .report import Report, capability_matrix, matrix_of_report, unrecorded_skips
from .runner import Result, judge, skips_of

__all__ = [
    "Account",
    "AdapterConformance",
    "AdapterHarness",
    "BrokerMissing",
    "Check",
    "ContractBroken",
    "DLQConformance",
    "DLQHarness",
    "Ledger",
    "NotOffered",
    "Proxy",
    "Report",
    "Result",
    "__version__",
    "balance",
    "capability_matrix",
    "judge",
    "matrix_of_report",
    "skips_of",
    "unrecorded_skips",
]
