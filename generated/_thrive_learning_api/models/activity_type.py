from enum import StrEnum


class ActivityType(StrEnum):
    COMMENTDELETED = "commentdeleted"
    COMMENTED = "commented"
    COMPLETED = "completed"
    FOLLOWED = "followed"
    FOUND = "found"
    LIKED = "liked"
    LOGGEDIN = "loggedin"
    LOGGEDOUT = "loggedout"
    PASSED = "passed"
    PINNED = "pinned"
    PROGRESSED = "progressed"
    REGISTERED = "registered"
    RESUMED = "resumed"
    SEARCHED = "searched"
    SHARED = "shared"
    STARTED = "started"
    UNFOLLOWED = "unfollowed"
    UNLIKED = "unliked"
    UNPINNED = "unpinned"
    VIEWED = "viewed"

    def __str__(self) -> str:
        return str(self.value)
