"""Contract of a bundle: its files, its manifest and the receipt for it."""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

SCHEMA_VERSION = "1.0.0"
"""Version of the bundle; MAJOR changes when a file or a key of the manifest changes its name or meaning."""

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
TABLES = ("visit_metrics.csv", "lesions.csv", "queries.csv", "participant_endpoints.csv")
DOMAINS = ("nv", "pr", "ag", "suppag", "di")
"""CDISC SDTM domains, each as CSV and as SAS transport v5."""
FILES = (*TABLES, *(f"{name}.{kind}" for name in DOMAINS for kind in ("csv", "xpt")), "dictionary.csv")
"""Closed list of the files of a bundle beside manifest and signature; all of them are there."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Study or site: it becomes part of file names."""
_Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileEntry(_Strict):
    """A file of the bundle.

    Parameters
    ----------
    name : str
        One of `FILES`.
    sha256 : str
        Of its bytes, lower-case hexadecimal (FIPS 180-4).
    bytes : int
    rows : int
        Without the head.
    columns : tuple of str
        Names in order.
    """

    name: Literal[FILES]  # pyright: ignore[reportInvalidTypeForm]
    sha256: Sha256
    bytes: _Count
    rows: _Count
    columns: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] = Field(
        min_length=1, max_length=200
    )


class BundleManifest(_Strict):
    """``manifest.json``: content of a bundle, and its place in the chain of its site.

    Parameters
    ----------
    schema_version : str
        Of the bundle, see `SCHEMA_VERSION`.
    tables_schema_version : str
        Of the columns of the tables, `mesems_mri.dataset.columns.SCHEMA_VERSION`.
    study_id, site_id : str
        All rows of all tables are of this study and this site.
    sequence : int
        1 for the first bundle of the site, then one more each time.
    previous_sha256 : str or None
        SHA-256 of the bytes of the previous manifest; None for the first.
    files : tuple of FileEntry
        In the order of `FILES`.
    software_version : str
        Of mesems-mri that built the bundle; each visit has its own in ``visit_metrics.csv``.
    model_versions : dict of str to str
        SHA-256 of the weights of each model.
    config_sha256 : tuple of str
        Hashes of the configurations with which the visits were measured, sorted.
    visits : dict of str to int
        Visits of the site that are ``done``, ``not_evaluable``, ``failed`` and ``waiting``.
    read_status : dict of str to int
        Visits in ``visit_metrics.csv`` by their ``read_status``.
    created : datetime.datetime
        Time at which it was built, UTC.
    """

    schema_version: Annotated[str, StringConstraints(pattern=r"^1\.\d+\.\d+$")]
    tables_schema_version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    study_id: Label
    site_id: Label
    sequence: int = Field(ge=1, le=999_999)
    previous_sha256: Sha256 | None
    files: tuple[FileEntry, ...]
    software_version: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    model_versions: dict[str, str]
    config_sha256: tuple[Sha256, ...]
    visits: dict[Literal["done", "not_evaluable", "failed", "waiting"], _Count]
    read_status: dict[Literal["automatic", "read", "adjudicated", "locked"], _Count]
    created: AwareDatetime

    @model_validator(mode="after")
    def _check(self) -> Self:
        if tuple(entry.name for entry in self.files) != FILES:
            msg = f"files must be exactly {', '.join(FILES)}, in this order"
            raise ValueError(msg)
        if (self.sequence == 1) != (self.previous_sha256 is None):
            msg = "previous_sha256 must be null for sequence 1, and only then"
            raise ValueError(msg)
        return self

    def entry(self, name: str) -> FileEntry:
        """Return the entry of a file."""
        return self.files[FILES.index(name)]

    @property
    def folder_name(self) -> str:
        """Name of the folder of the bundle, e.g. ``S01_000003``."""
        return f"{self.site_id}_{self.sequence:06}"


class TransferReceipt(_Strict):
    """Receipt of the receiving side; other keys are allowed and kept, but mean nothing to the sender.

    Parameters
    ----------
    manifest_sha256 : str
        SHA-256 of the manifest it answers.
    status : str
        ``accepted``; ``duplicate`` (it was accepted before, and nothing was stored again); ``rejected``
        (nothing of it was stored, and this bundle never will be).
    reasons : tuple of str
        Reasons for a rejection, one sentence each; empty otherwise.
    received_at : datetime.datetime
        Time of the decision, with its time zone.
    sequence : int
        That of the manifest.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    manifest_sha256: Sha256
    status: Literal["accepted", "duplicate", "rejected"]
    reasons: tuple[str, ...]
    received_at: AwareDatetime
    sequence: int = Field(ge=1)


def archive_name(manifest: BundleManifest, manifest_sha256: str) -> str:
    """Name the archive of a bundle, e.g. ``S01_000003_<sha256 of the manifest>.tar``."""
    return f"{manifest.folder_name}_{manifest_sha256}.tar"


def receipt_name(manifest_sha256: str) -> str:
    """Name the receipt in the folder ``receipts`` of an inbox."""
    return f"{manifest_sha256}.receipt.json"
