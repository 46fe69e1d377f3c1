"""The operations of the contract that this package calls."""

from _thrive_learning_api.api.activity import get_activity, list_activities

from thrive_learning._call.operation import Operation
from thrive_learning.models import Activity, ActivityPage

GET_ACTIVITY = Operation.returning(Activity, "activities.get", get_activity, subject="activity {id}")
LIST_ACTIVITIES = Operation.returning(
    ActivityPage,
    "activities.list",
    list_activities,
    subject="page {page} of the activities",
    key="page {page}",
)
