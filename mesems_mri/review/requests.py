"""Bodies of the requests, checked before anything acts on them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mesems_mri.review.events import Act

Identifier = Annotated[str, Field(min_length=1, max_length=24, pattern=r"^[A-Za-z0-9_]+$")]
Code = Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9_]+$")]
Revision = Annotated[int, Field(ge=0, le=10**9)]
Status = Annotated[str, Field(max_length=20, pattern=r"^[a-z_]+$")]
Kind = Literal["t2", "gel"]
Run = tuple[Annotated[int, Field(ge=0, lt=2**31)], Annotated[int, Field(ge=1, lt=2**31)]]
Index = Annotated[int, Field(ge=0, lt=4096)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)


class SignIn(_Body):
    """Name and password."""

    name: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=200)]


class Nothing(_Body):
    """An empty object."""


class Grow(_Body):
    """Place that a reader points at."""

    kind: Kind
    at: tuple[Index, Index, Index]


class _Act(_Body):
    revision: Revision


class Decide(_Act):
    """Decision about a finding."""

    act: Literal["decide"]
    finding_id: Identifier
    decision: Status
    t2_status: Status | None = None
    gd_status: Status | None = None


class Comment(_Act):
    """Comment on a finding."""

    act: Literal["comment"]
    finding_id: Identifier
    code: Code | None


class Add(_Act):
    """Outline that is taken."""

    act: Literal["add"]
    preview_id: Identifier
    kind: Kind
    t2_status: Status | None = None
    gd_status: Status | None = None


class Edit(_Act):
    """Another outline of a finding."""

    act: Literal["edit"]
    finding_id: Identifier
    voxels: Annotated[list[Run], Field(min_length=1, max_length=200_000)]


class Merge(_Act):
    """Findings that are one."""

    act: Literal["merge"]
    finding_ids: Annotated[list[Identifier], Field(min_length=2, max_length=100)]


class Split(_Act):
    """Finding that is several."""

    act: Literal["split"]
    finding_id: Identifier


class NotEvaluable(_Act):
    """Part that is not evaluable, or is again."""

    act: Literal["not_evaluable"]
    part: Status
    reason: Code | None


class Undo(_Act):
    """Last act taken back."""

    act: Literal["undo"]


class Sign(_Act):
    """Signature with its meaning."""

    act: Literal["sign"]
    meaning: Annotated[str, Field(max_length=300)]
    password: Annotated[str, Field(max_length=200)] | None = None


EventRequest = Annotated[
    Decide | Comment | Add | Edit | Merge | Split | NotEvaluable | Undo | Sign, Field(discriminator="act")
]
_EVENT: TypeAdapter[Any] = TypeAdapter(EventRequest)


def parse_event(body: bytes) -> tuple[Act, int, dict[str, Any]]:
    """Read an act from the body of a request.

    Returns
    -------
    act : Act
    revision : int
        Of the read as the page knows it.
    given : dict
        What belongs to the act.

    Raises
    ------
    ValueError
        If the body is no act; `pydantic.ValidationError` is one.
    """
    given = _EVENT.validate_json(body).model_dump()
    act, revision = Act(given.pop("act")), given.pop("revision")
    return act, revision, given
