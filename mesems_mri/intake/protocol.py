"""The acquisition protocol of a trial: limits of every sequence, and exceptions of sites.

``config/protocol.yaml`` and ``config/protocol-mesems2012.yaml`` show every key.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mesems_mri.errors import UsageError

ImageRole = Literal["T1w", "ce-gadolinium_T1w", "T2w", "PDw", "FLAIR"]
Dimension = Literal["2D", "3D"]
ROLES: tuple[ImageRole, ...] = get_args(ImageRole)
"""Roles that a protocol can have a block for."""
ITEMS = {
    "field_strength": "field strength",
    "acquisition": "2D or 3D",
    "slice_thickness": "slice thickness",
    "slice_gap": "gap between slices",
    "in_plane": "pixel size",
    "echo_time": "echo time",
    "repetition_time": "repetition time",
    "inversion_time": "inversion time",
    "coil": "receive coil",
    "contrast_agent": "contrast agent",
    "contrast_dose": "contrast dose",
    "injection_delay": "delay after injection",
    "like_precontrast": "acquired like the scan before contrast",
    "scanner": "scanner of the first visit",
    "software": "software of the first visit",
    "baseline_acquisition": "2D or 3D of the first visit",
    "baseline_plane": "plane of the first visit",
    "baseline_echo_time": "echo time of the first visit",
    "baseline_repetition_time": "repetition time of the first visit",
    "baseline_inversion_time": "inversion time of the first visit",
    "baseline_flip_angle": "flip angle of the first visit",
    "baseline_resolution": "acquired voxel of the first visit",
    "baseline_acceleration": "acceleration of the first visit",
    "baseline_reconstruction": "reconstruction of the first visit",
    "baseline_coverage": "coverage of the first visit",
}
"""Every item in words, in the order of the tables."""
TOLERANCE = 0.005
"""Part by which a value may pass a limit: headers round."""
_TOLERANCE_OF_ZERO = 0.02

Words = tuple[Annotated[str, Field(min_length=1)], ...]


class _ProtocolModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(_ProtocolModel):
    """Smallest and largest value that is to protocol."""

    min: float | None = Field(default=None, description="Smallest value; null for none")
    max: float | None = Field(default=None, description="Largest value; null for none")

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if self.min is None and self.max is None:
            msg = "give min or max, or null for no limit at all"
            raise ValueError(msg)
        if self.min is not None and self.max is not None and self.min > self.max:
            msg = f"min {self.min:g} is larger than max {self.max:g}"
            raise ValueError(msg)
        return self

    def holds(self, value: float) -> bool:
        """Return whether a value is in the range, within the rounding of a header."""
        return (self.min is None or value >= self.min - _slack(self.min)) and (
            self.max is None or value <= self.max + _slack(self.max)
        )

    def words(self, unit: str) -> str:
        """Format the range in words."""
        unit = f" {unit}" if unit else ""
        if self.min is None:
            return f"at most {self.max:g}{unit}" if self.max else "none"
        if self.max is None:
            return f"at least {self.min:g}{unit}"
        if self.min == self.max:
            return f"{self.min:g}{unit}"
        return f"{self.min:g} to {self.max:g}{unit}"


class SliceRule(_ProtocolModel):
    """Size of the voxels of a 2D or a 3D sequence."""

    thickness_mm: Range | None = Field(default=None, description="Slice thickness")
    gap_mm: Range | None = Field(default=None, description="Gap between slices")
    in_plane_mm: Range | None = Field(
        default=None, description="Size of a pixel as acquired, not as interpolated, in both directions"
    )


class CoilRule(_ProtocolModel):
    """Words in the name of the receive coil, in any case."""

    any_of: Words = Field(default=(), description="One of these must be in the name; empty for any")
    none_of: Words = Field(default=(), description="None of these may be in the name")


class ContrastRule(_ProtocolModel):
    """Contrast agent, dose and delay of a post-contrast scan."""

    agents: Words = Field(default=(), description="Names of the agents, as in agents; empty for any")
    dose_mmol_kg: Range | None = Field(default=None, description="Dose, mmol per kg of body weight")
    delay_min: Range | None = Field(
        default=None, description="From the injection to the start of the scan, minutes"
    )


class SequenceRule(_ProtocolModel):
    """Limits of a sequence; a key that is left out or null is not checked."""

    field_strength_t: Range | None = Field(
        default=None, description="Field strength, as the header rounds it"
    )
    acquisition: tuple[Dimension, ...] = Field(default=(), description="2D, 3D or both; empty for any")
    geometry: dict[Dimension, SliceRule] = Field(default_factory=dict, description="By kind of acquisition")
    echo_time_ms: Range | None = Field(default=None, description="Echo time, effective of an echo train")
    repetition_time_ms: Range | None = Field(default=None, description="Repetition time")
    inversion_time_ms: Range | None = Field(default=None, description="Inversion time")
    coil: CoilRule | None = Field(default=None, description="Receive coil")
    contrast: ContrastRule | None = Field(default=None, description="Contrast agent")
    like: ImageRole | None = Field(
        default=None, description="The role of the same visit that this one must be acquired like"
    )


class Agent(_ProtocolModel):
    """A contrast agent, by which names a header may call it, and how strong it is."""

    name: str = Field(min_length=1)
    words: Words = Field(min_length=1, description="Any of these in the header names it, in any case")
    mmol_per_ml: float = Field(gt=0, description="Strength as sold; with it a volume gives a dose")


class SiteRule(_ProtocolModel):
    """Exceptions of a site: given keys replace, nested ones join, null takes a limit away."""

    defaults: dict[str, Any] = Field(default_factory=dict, description="For all its sequences")
    sequences: dict[ImageRole, dict[str, Any]] = Field(default_factory=dict, description="By role")
    required: tuple[tuple[str, ...], ...] | None = Field(default=None, description="Instead of the trial's")


class Protocol(_ProtocolModel):
    """The acquisition protocol of a trial."""

    name: str = Field(description="Name, for the reports")
    source: str = Field(default="", description="Where it comes from")
    required: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = Field(
        description="Of every line one must be there at each visit; T2w+PDw for both"
    )
    blocking: tuple[str, ...] = Field(
        default=(), description="Items whose failure blocks the visit until its query is answered"
    )
    agents: tuple[Agent, ...] = Field(default=(), description="Contrast agents")
    defaults: dict[str, Any] = Field(default_factory=dict, description="Of all sequences")
    sequences: dict[ImageRole, dict[str, Any]] = Field(
        description="By role; null for no more than the defaults"
    )
    sites: dict[str, SiteRule] = Field(default_factory=dict, description="What differs, by site")

    @model_validator(mode="before")
    @classmethod
    def _null_is_empty(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("sequences"), dict):
            filled = {role: {} if rule is None else rule for role, rule in content["sequences"].items()}
            return content | {"sequences": filled}
        return content

    @model_validator(mode="after")
    def _every_rule_is_one(self) -> "Protocol":
        """Build every rule of every site once, so that an error is raised before any scan is read."""
        if odd := sorted(set(self.blocking) - set(ITEMS)):
            msg = f"blocking: {odd[0]!r} is none of {', '.join(ITEMS)}"
            raise ValueError(msg)
        known = {agent.name for agent in self.agents}
        for site_id in ("", *self.sites):
            for role in ROLES:
                try:
                    rule = self.rule(role, site_id)
                except ValidationError as error:
                    first = error.errors()[0]
                    where = ".".join([f"sites.{site_id}"] * bool(site_id) + [role, *map(str, first["loc"])])
                    msg = f"{where}: {first['msg']}, got {first['input']!r}"
                    raise ValueError(msg) from error
                asked = set(rule.contrast.agents) if rule and rule.contrast else set()
                if unknown := sorted(asked - known):
                    msg = f"{role}: the agent {unknown[0]!r} is not among agents ({', '.join(sorted(known))})"
                    raise ValueError(msg)
            for line in self.required_at(site_id):
                if bad := [part for one in line for part in one.split("+") if part not in ROLES]:
                    msg = f"required: {bad[0]!r} is none of {', '.join(ROLES)}"
                    raise ValueError(msg)
        return self

    def rule(self, role: str, site_id: str = "") -> SequenceRule | None:
        """Return what a sequence must be at a site; None when the protocol says nothing of it."""
        site = self.sites.get(site_id, SiteRule())
        asked = [part[role] for part in (self.sequences, site.sequences) if role in part]
        if not asked:
            return None
        own = self.sequences.get(role, {})  # pyright: ignore[reportArgumentType, reportCallIssue]
        overridden = site.sequences.get(role, {})  # pyright: ignore[reportArgumentType, reportCallIssue]
        merged: dict[str, Any] = {}
        for part in (self.defaults, own, site.defaults, overridden):
            merged = _merge(merged, part)
        return SequenceRule.model_validate(_without_null(merged))

    def required_at(self, site_id: str = "") -> tuple[tuple[str, ...], ...]:
        """Return the lines of ``required`` that hold at a site."""
        own = self.sites[site_id].required if site_id in self.sites else None
        return self.required if own is None else own

    def missing(self, roles: set[str], site_id: str = "") -> list[tuple[str, ...]]:
        """List what a site must send and has not, each with its alternatives: ``FLAIR``, ``T2w+PDw``."""
        return [
            line
            for line in self.required_at(site_id)
            if not any(set(one.split("+")) <= roles for one in line)
        ]


def load_protocol(path: Path) -> Protocol:
    """Read a protocol.

    Parameters
    ----------
    path : Path
        YAML file.

    Returns
    -------
    Protocol

    Raises
    ------
    UsageError
        If the file is missing, is no YAML mapping, or has an unknown key or a value out of range.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"protocol {path} cannot be read ({str(error).splitlines()[0]}); give a YAML file"
        raise UsageError(msg) from error
    try:
        return Protocol.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        got = "" if isinstance(first["input"], dict | Protocol) else f", got {first['input']!r}"
        msg = f"protocol {path}: {where}: {first['msg']}{got}; see config/protocol.yaml"
        raise UsageError(msg) from error


def _slack(limit: float) -> float:
    return TOLERANCE * abs(limit) or _TOLERANCE_OF_ZERO


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both else value  # pyright: ignore[reportArgumentType]
    return merged


def _without_null(content: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is null: that is how a limit is taken away."""
    return {
        key: _without_null(value) if isinstance(value, Mapping) else value
        for key, value in content.items()
        if value is not None
    }
