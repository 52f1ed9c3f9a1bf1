"""Conditions of changes: If-Match and If-None-Match (RFC 9110, section 13)."""

from quarry_common.contracts.documents import Condition
from quarry_common.errors import PreconditionFailedError


def require(condition: Condition | None, revision: int | None) -> None:
    """Raise `PreconditionFailedError` unless `condition` holds of a document of `revision`, None for none."""
    if condition is None:
        return
    if condition.missing:
        if revision is not None:
            raise PreconditionFailedError(f"The document exists, with revision {revision}.")
        return
    if revision is None:
        raise PreconditionFailedError("There is no such document.")
    if condition.revisions is not None and revision not in condition.revisions:
        raise PreconditionFailedError(f"The document has revision {revision} now.")
