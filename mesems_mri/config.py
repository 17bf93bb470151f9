"""Configuration of a trial: visit schedule, protocol thresholds, periods of the endpoints.

``python -m mesems_mri.config`` prints the JSON schema that is kept in ``config/schema.json``.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mesems_mri.errors import UsageError

PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Visit(_Frozen):
    """One line of the trial's visit table."""

    session_id: str = Field(description="Session label without the prefix ses-")
    week: int | None = Field(default=None, description="Week after randomisation")
    visit_type: Literal["scheduled", "unscheduled", "repeat"] = Field(
        default="scheduled",
        description="Only scheduled visits are a reference for later ones and part of the endpoints",
    )


class Period(_Frozen):
    """Visits over which an endpoint is summed."""

    weeks: tuple[int, ...] = Field(description="Weeks whose counts are summed")
    start: int = Field(description="Week of the volumes at the start")
    end: int = Field(description="Week of the volumes at the end")


class FocusRule(_Frozen):
    """Smallest focus that is counted."""

    min_volume_mm3: PositiveFloat = Field(default=14.0, description="Smaller foci are not counted")
    min_diameter_mm: PositiveFloat = Field(
        default=3.0, description="Foci of a smaller diameter in the acquired plane are not counted"
    )


class _OperatingPoints(_Frozen):
    """Score from which a focus is counted, and score from which it is listed as a candidate."""

    min_score: Fraction
    candidate_score: Fraction

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.candidate_score > self.min_score:
            msg = (
                f"candidate_score must be at most min_score ({self.min_score:g}), "
                f"got {self.candidate_score:g}; lower it, or set both to one value"
            )
            raise ValueError(msg)
        return self


class T2Rule(_OperatingPoints):
    """Scores from which a T2 lesion is counted, and listed as a candidate."""

    min_score: Fraction = Field(default=0.5, description="A T2 lesion of a lower score is not counted")
    candidate_score: Fraction = Field(
        default=0.05, description="One that is not counted is a candidate from this score on"
    )


class ChangeRule(_OperatingPoints):
    """Growth from which a T2 lesion counts as enlarging."""

    min_growth_mm3: PositiveFloat = Field(default=20.0, description="Growth of less volume is none")
    min_growth_fraction: PositiveFloat = Field(
        default=0.5, description="Growth of a smaller part of the lesion counts only with a nodule"
    )
    min_nodule_mm: PositiveFloat = Field(
        default=3.0,
        description="Growth with a nodule of this in-plane diameter always counts",
    )
    min_score: Fraction = Field(
        default=0.5, description="A new or enlarging T2 lesion of a lower score is not counted"
    )
    candidate_score: Fraction = Field(
        default=0.05, description="One that is not counted is a candidate from this score on"
    )


class EnhancementRule(_OperatingPoints):
    """Conditions for a gadolinium-enhancing lesion (GEL)."""

    correlate_mm: PositiveFloat = Field(
        default=2.0, description="What is further from a T2 correlate counts as without one"
    )
    ring_gap_mm: PositiveFloat = Field(default=3.0, description="Gaps of a ring that are closed")
    min_score: Fraction = Field(default=0.5, description="An enhancing focus of a lower score is not counted")
    candidate_score: Fraction = Field(
        default=0.05, description="One that is not counted is a candidate from this score on"
    )
    join_mm: PositiveFloat = Field(default=2.0, description="Distance at which a T2 focus joins a GEL")


class QualityRule(_Frozen):
    """Limits of image quality: not evaluable, or flagged."""

    min_covered_fraction: Fraction = Field(
        default=0.90, description="Less of the brain inside the image: not evaluable"
    )
    warn_covered_fraction: Fraction = Field(
        default=0.97, description="Less of the brain inside the image: flagged"
    )
    min_snr: PositiveFloat = Field(default=3.0, description="Less in white matter: flagged")
    max_artefact: Fraction = Field(
        default=0.08,
        description="Bands, ghosts or stripes of more than this share of the intensity of the brain: flagged",
    )


class IntakeRule(_Frozen):
    """Acceptance of raw images."""

    header_repair: bool = Field(
        default=False,
        description="Repair a contradictory or sheared header instead of refusing it: the form without shear "
        "wins, the sform if both are",
    )
    select: dict[str, str] = Field(
        default_factory=dict,
        description="For a contrast with several files of one visit, the text that the file to use holds, "
        "e.g. FLAIR: acq-3D",
    )


class Access(_Frozen):
    """Access to a destination of bundles; ``{site_id}`` in a value is the site of the bundle.

    The options of ``mesems-mri transfer send`` and ``status`` have these names and descriptions.
    """

    destination: str = Field(
        default="", description="A folder, sftp://user@host/folder or https://host; {site_id} is the site"
    )
    token_file: str = Field(default="", description="HTTPS: file with the bearer token")
    ca_file: str = Field(
        default="", description="HTTPS: certificate of the authority, if the system lacks it"
    )
    ssh_key_file: str = Field(default="", description="SFTP: private key; default: those of the user")
    known_hosts_file: str = Field(default="", description="SFTP: host keys; default: ~/.ssh/known_hosts")

    def of_site(self, site_id: str) -> Self:
        """Return the access with the label of a site in place of ``{site_id}``."""
        return self.model_copy(update={name: text.replace("{site_id}", site_id) for name, text in self})


class TransferRule(Access):
    """Destination of the bundles for central analysis, and the key that signs them."""

    key_file: str = Field(
        default="", description="Private key that signs, of mesems-mri transfer keygen, outside of OUT_DIR"
    )
    sheet: str = Field(
        default="",
        description="Visit schedule of the trial; a bundle that holds a patient ID of it is refused",
    )


class TrialConfig(_Frozen):
    """Everything a trial decides; defaults are those of the MESEMS protocol."""

    study_id: str = Field(default="study", description="Identifier of the study in all tables")
    visits: tuple[Visit, ...] = Field(
        default=(), description="Visit table; empty: sessions.tsv, else natural order of the labels"
    )
    periods: dict[str, Period] = Field(
        default_factory=lambda: {
            "w04_w24": Period(weeks=(4, 12, 24), start=0, end=24),
            "w28_w48": Period(weeks=(28, 36, 48), start=24, end=48),
        },
        description="Periods of participant_endpoints.tsv by name",
    )
    focus: FocusRule = FocusRule()
    t2: T2Rule = T2Rule()
    change: ChangeRule = ChangeRule()
    enhancement: EnhancementRule = EnhancementRule()
    quality: QualityRule = QualityRule()
    intake: IntakeRule = IntakeRule()
    transfer: TransferRule = TransferRule()

    def part(self, *keys: str) -> dict[str, Any]:
        """Return the part of the configuration that a step is given, and nothing else.

        Parameters
        ----------
        *keys : str
            Blocks or single keys, e.g. ``"focus"``, ``"quality.min_snr"``.

        Returns
        -------
        dict
            Nested as the configuration, for `from_part`.

        Raises
        ------
        KeyError
            If there is no such key.
        """
        whole, chosen = self.model_dump(mode="json"), {}
        for key in keys:
            *blocks, last = key.split(".")
            source, target = whole, chosen
            for block in blocks:
                source, target = source[block], target.setdefault(block, {})
            target[last] = source[last]
        return chosen

    @classmethod
    def from_part(cls, text: str) -> Self:
        """Read a part of the configuration, as a step is given it: the rest does not exist for the step.

        Parameters
        ----------
        text : str
            JSON of what `part` returned.

        Returns
        -------
        TrialConfig
            Asking it for a key that is not in the part raises `AttributeError`.

        Raises
        ------
        ValidationError
            If a key is unknown or a value out of range.
        """
        config = cls.model_validate_json(text)
        _forget_defaults(config)
        return config

    def sha256(self) -> str:
        """Return the hash of all that shapes the numbers of a visit, independent of layout and key order.

        Visit table, periods and file selection are left out: what they decide stands in the tables itself,
        and a visit added to the plan must not change a byte of an earlier one. The transfer shapes no number.
        """
        aside = {"study_id": True, "visits": True, "periods": True, "intake": {"select"}, "transfer": True}
        text = json.dumps(self.model_dump(mode="json", exclude=aside), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _forget_defaults(model: BaseModel) -> None:
    """Remove every value that was not given, so that nobody reads a default in place of the trial's value."""
    for name in type(model).model_fields:
        if name not in model.model_fields_set:
            del vars(model)[name]
        elif isinstance(value := getattr(model, name), BaseModel):
            _forget_defaults(value)


def load_config(path: Path | None) -> TrialConfig:
    """Read a trial configuration.

    Parameters
    ----------
    path : Path or None
        YAML file; None gives the defaults.

    Returns
    -------
    TrialConfig

    Raises
    ------
    UsageError
        If the file is missing, is no YAML mapping, or has an unknown key or a value out of range.
    """
    if path is None:
        return TrialConfig()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"configuration {path} cannot be read ({str(error).splitlines()[0]}); give a YAML file"
        raise UsageError(msg) from error
    try:
        return TrialConfig.model_validate(content or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        what = first["msg"].removeprefix("Value error, ")
        got = "" if first["type"] == "value_error" else f", got {first['input']!r}"
        msg = f"configuration {path}: {where}: {what}{got}; see config/config.yaml"
        raise UsageError(msg) from error


def main() -> None:
    """Print the JSON schema of the configuration."""
    json.dump(TrialConfig.model_json_schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
