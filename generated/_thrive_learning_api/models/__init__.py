"""Contains all the data models used in inputs/outputs"""

from .activity import Activity
from .activity_context import ActivityContext
from .activity_data import ActivityData
from .activity_page import ActivityPage
from .activity_type import ActivityType
from .error import Error
from .pagination import Pagination

__all__ = (
    "Activity",
    "ActivityContext",
    "ActivityData",
    "ActivityPage",
    "ActivityType",
    "Error",
    "Pagination",
)
