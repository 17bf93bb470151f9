"""Rejection of a transfer: codes and errors."""

from enum import StrEnum

from mesems_mri.errors import MesemsError


class RejectionCode(StrEnum):
    """Code of a rejection, for the audit trail; closed list."""

    NO_BUNDLE = "no_bundle"
    TOO_LARGE = "too_large"
    UNKNOWN_SITE = "unknown_site"
    OTHER_SITE = "other_site"
    OTHER_STUDY = "other_study"
    NOT_VERIFIED = "not_verified"
    FORBIDDEN_COLUMN = "forbidden_column"
    SCHEMA = "schema"
    CONTENT = "content"
    PARTICIPANT = "participant"
    VISIT = "visit"
    WITHDRAWN_ROW = "withdrawn_row"
    GAP = "gap"
    REPLAY = "replay"
    FORK = "fork"

    @property
    def status(self) -> int:
        """Status code of the HTTP answer."""
        if self is RejectionCode.TOO_LARGE:
            return 413
        return 409 if self in (RejectionCode.GAP, RejectionCode.REPLAY, RejectionCode.FORK) else 422


class RejectedError(MesemsError):
    """Rejection of a transfer, of which nothing is stored.

    Parameters
    ----------
    code : RejectionCode
    *reasons : str
        Sentences for the sender; they may repeat a value of the bundle, so they are not in the audit trail.
    where : str
        File and row, for the audit trail.
    """

    exit_code = 5

    def __init__(self, code: RejectionCode, *reasons: str, where: str = "") -> None:
        super().__init__(reasons[0])
        self.code = code
        self.reasons = reasons
        self.where = where


class UnavailableError(MesemsError):
    """Transient failure: the transfer cannot be decided now and is to be sent again."""

    exit_code = 4
