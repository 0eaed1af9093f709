"""What adapters are tested for, by topic."""

from .conduct import Conduct
from .connections import Connections
from .construction import Construction
from .delivery import Delivery
from .discretion import Discretion
from .handlers import Handlers
from .network import Network
from .poison import Poison
from .processes import Processes
from .settlement import Settlement
from .stopping import Stopping
from .waiting import Waiting
from .workers import Workers

__all__ = [
    "Conduct",
    "Connections",
    "Construction",
    "Delivery",
    "Discretion",
    "Handlers",
    "Network",
    "Poison",
    "Processes",
    "Settlement",
    "Stopping",
    "Waiting",
    "Workers",
]
