"""Errors, named by who has to act."""


class RecError(Exception):
    """Base of all errors raised on purpose."""

    retryable = False


class BadInput(RecError):
    """The caller sent something that no retry can fix: exit code 2, HTTP 400, or a quarantine row."""


class NotFound(BadInput):
    """The named video, user, bundle or table does not exist: HTTP 404."""


class Erased(BadInput):
    """The user was deleted, and what comes under this id is refused: HTTP 410, or a quarantine row."""


class CommitConflict(RecError):
    """Another writer committed to the same table first; read again and repeat."""

    retryable = True


class StorageFailed(RecError):
    """A file could not be written: the disk is full, or gone. What was committed before stays."""

    retryable = True

    def __init__(self, path: object, error: OSError) -> None:
        why = error.strerror or type(error).__name__
        super().__init__(f"{path} cannot be written: {why}; see to the disk and run again, nothing is lost")


class VersionMismatch(RecError):
    """Two parts were built with different definitions; serving them together would be wrong."""


class StoreUnavailable(RecError):
    """Redis refused or dropped the connection; a fallback may serve."""

    retryable = True


class StoreTimeout(StoreUnavailable):
    """Redis did not answer within the stage's budget; a fallback may serve."""

    def __init__(self, operation: str, budget_ms: float) -> None:
        super().__init__(f"{operation} exceeded {budget_ms:.1f} ms")
        self.operation, self.budget_ms = operation, budget_ms
