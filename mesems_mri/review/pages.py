"""Pages of manager and auditor: who is at which stage, locks, the trail; made on the server."""

from html import escape
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from mesems_mri.dataset import audit
from mesems_mri.errors import MesemsError
from mesems_mri.review.accounts import ReaderRole
from mesems_mri.review.centre import (
    VisitStatus,
    adjudicate,
    check_locks,
    check_tasks,
    lock_visit,
    reopen,
    unlock_visit,
    visit_statuses,
)
from mesems_mri.review.desk import Desk
from mesems_mri.review.events import MEANINGS
from mesems_mri.review.locks import ask_unlock
from mesems_mri.review.progress import VisitStage
from mesems_mri.review.service import Service
from mesems_mri.review.store import verify

_SHOWN_ENTRIES = 500


def add_pages(app: FastAPI, service: Service) -> None:
    """Add the pages of manager and auditor."""
    desk = service.desk

    @app.get("/manage")
    async def manage(request: Request) -> Response:
        person = await service.allowed(request, ReaderRole.MANAGER)
        return await run_in_threadpool(_manage, desk, person.csrf, "")

    @app.post("/manage")
    async def change(request: Request) -> Response:
        form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=20)
        given = {name: values[0] for name, values in form.items()}
        person = await service.who(request)
        if person is None:
            raise HTTPException(401, "nobody is signed in; sign in")
        service.check_origin(request)
        if person.role != ReaderRole.MANAGER:
            await service.refused(request, person)
        if given.get("csrf") != person.csrf:
            raise HTTPException(403, "the token of the session is missing or stale; load the page again")
        address = request.client.host if request.client else ""
        await run_in_threadpool(service.passwords.check, person.name, given.get("password", ""), address)
        try:
            await run_in_threadpool(_change, desk, person.name, given)
        except MesemsError as error:
            return await run_in_threadpool(_manage, desk, person.csrf, str(error))
        return RedirectResponse("/manage", 303)

    @app.get("/audit")
    async def show_audit(request: Request) -> Response:
        await service.allowed(request, ReaderRole.AUDITOR, ReaderRole.MANAGER)
        return await run_in_threadpool(_audit, desk)


def _change(desk: Desk, actor: str, given: dict[str, str]) -> None:
    visit = (given.get("participant", ""), given.get("session", ""))
    known = {status.visit for status in visit_statuses(desk)}
    action = given.get("action")
    if action == "adjudicate":
        adjudicate(desk, None, actor)
        return
    if visit not in known:
        msg = "there is no such visit; load the page again"
        raise MesemsError(msg)
    if action == "lock":
        lock_visit(desk, visit, actor)
    elif action == "unlock":
        with desk.store.writing() as connection:
            ask_unlock(connection, visit, actor=actor, reason=given.get("reason", "")[:500])
    elif action == "confirm":
        unlock_visit(desk, visit, actor)
        reopen(desk, visit, actor)
    else:
        msg = "there is no such action; load the page again"
        raise MesemsError(msg)


def _manage(desk: Desk, csrf: str, problem: str) -> HTMLResponse:
    statuses = visit_statuses(desk)
    counts = {stage: sum(s.stage is stage for s in statuses) for stage in VisitStage}
    summary = "".join(f"<li>{escape(stage)}: {n}</li>" for stage, n in counts.items() if n)
    rows = "".join(_row(status, csrf) for status in statuses)
    said = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    form = (
        f'<form method="post" action="/manage">{_hidden(csrf, action="adjudicate")}'
        f"{_password()}<button>Give disagreements to the adjudicators</button></form>"
    )
    heads = ("Visit", "Stage", "Readers", "Would change", "Action")
    head = "".join(f"<th scope='col'>{name}</th>" for name in heads)
    body = (
        f"{said}<ul>{summary}</ul>{form}<p>{escape(MEANINGS['lock'])}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )
    return _html("Reading: visits", body)


def _row(status: VisitStatus, csrf: str) -> str:
    participant, session = status.visit
    stage = f"{status.stage} v{status.version:03}" if status.version else str(status.stage)
    earlier = "read on an earlier run; open it again" if status.outdated else ""
    changes = earlier or "; ".join(
        f"{name}: {then} → {now}" for name, (then, now) in status.would_change.items()
    )
    hidden: dict[str, Any] = {"participant": participant, "session": session}
    forms = ""
    if status.stage in (VisitStage.CONCORDANT, VisitStage.ADJUDICATED):
        forms = _form(csrf, "lock", "Lock", hidden)
    elif status.version:
        reason = '<input name="reason" maxlength="500" placeholder="Reason" aria-label="Reason">'
        forms = _form(csrf, "unlock", "Ask to unlock", hidden, reason)
        forms += _form(csrf, "confirm", "Confirm unlocking", hidden)
    cells = (f"{participant} {session}", stage, ", ".join(status.readers), changes)
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + f"<td>{forms}</td></tr>"


def _form(csrf: str, action: str, text: str, hidden: dict[str, Any], more: str = "") -> str:
    return (
        f'<form method="post" action="/manage">{_hidden(csrf, action=action, **hidden)}{more}{_password()}'
        f"<button>{escape(text)}</button></form>"
    )


def _hidden(csrf: str, **values: str) -> str:
    fields = {"csrf": csrf, **values}
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields.items()
    )


def _password() -> str:
    return (
        '<input type="password" name="password" maxlength="200" placeholder="Password" '
        'aria-label="Password" autocomplete="current-password" required>'
    )


def _audit(desk: Desk) -> HTMLResponse:
    with desk.store.reading() as connection:
        faults = verify(connection)
        head = audit.head(connection)
        entries = list(audit.listing(connection))[-_SHOWN_ENTRIES:]
    faults += [*check_tasks(desk), *check_locks(desk)]
    said = "".join(f'<li class="problem">{escape(fault)}</li>' for fault in faults)
    state = f"<ul>{said}</ul>" if faults else "<p>The trail, the events and the locked reads are intact.</p>"
    lines = "".join(f"<li>{escape(line)}</li>" for line in reversed(entries))
    note = f"<p>Note the last entry elsewhere: <code>{head.number}:{escape(head.hash)}</code></p>"
    return _html("Reading: audit trail", f"{state}{note}<ul>{lines}</ul>")


def _html(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="robots" content="noindex"><link rel="stylesheet" href="/static/css/base.css"></head>'
        f'<body><header class="bar"><h1>{escape(title)}</h1><nav><a href="/">Reading list</a></nav></header>'
        f"<main>{body}</main></body></html>"
    )
