"""Errors of the package, each with the exit code that the command line gives it.

::

    MesemsError                  1
    ├── UsageError               2   wrong usage or configuration
    ├── DatasetError             3   the data set as a whole cannot be run
    │   ├── ForbiddenColumnError 3   an input table would unblind the analysis
    │   └── BundleError          3   a bundle of the transfer is not what its manifest and signature say
    ├── ExternalProgramError     4   an external program is missing or failed
    │   └── DeliveryError        4   the receiving side of a transfer cannot be reached or does not answer
    └── InputError               -   one image or visit; carries a reason code
"""

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Closed list of reasons for which something is not evaluable."""

    MISSING_SCAN = "missing_scan"
    UNREADABLE_FILE = "unreadable_file"
    NO_POSTCONTRAST = "no_postcontrast"
    NO_T2_TYPE = "no_t2_type"
    NO_COMMON_CONTRAST = "no_common_contrast"
    NO_REFERENCE_VISIT = "no_reference_visit"
    WRONG_HEAD = "wrong_head"
    NOT_A_BRAIN = "not_a_brain"
    REGISTRATION_FAILED = "registration_failed"
    INCOMPLETE_COVERAGE = "incomplete_coverage"
    ARTEFACT = "artefact"
    BELOW_PROTOCOL = "below_protocol"
    OPEN_QUERY = "open_query"
    INTAKE_AMBIGUOUS = "intake_ambiguous"
    STEP_FAILED = "step_failed"
    READER_REJECTED = "reader_rejected"
    CONTRAST_UNCONFIRMED = "contrast_unconfirmed"


class MesemsError(Exception):
    """Base of all errors raised on purpose; its text is one sentence for the user."""

    exit_code: ClassVar[int] = 1


class UsageError(MesemsError):
    """Wrong usage or configuration."""

    exit_code = 2


class DatasetError(MesemsError):
    """The data set as a whole cannot be run."""

    exit_code = 3


class ForbiddenColumnError(DatasetError):
    """An input table holds a column that would unblind the analysis."""


class BundleError(DatasetError):
    """A bundle of the transfer is not what its manifest and signature say, or must not leave the centre."""


class ExternalProgramError(MesemsError):
    """An external program is missing or failed."""

    exit_code = 4


class DeliveryError(ExternalProgramError):
    """The receiving side of a transfer cannot be reached or does not answer; the bundle waits in the outbox.

    Parameters
    ----------
    message : str
        One sentence.
    retry_after : float
        Seconds for which the receiving side asks to be left alone.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InputError(MesemsError):
    """One image or visit cannot be used; the others go on.

    Parameters
    ----------
    message : str
        One sentence: what, where, value, expected, what to do.
    reason : Reason
        Why what depends on this input is not evaluable.
    """

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason
