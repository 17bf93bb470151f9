"""Service of the reading: sessions, tasks, images and acts, for one user or for a reading centre."""

import logging
import secrets
from pathlib import Path
from typing import Any, TypeVar

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError

from mesems_mri.errors import MesemsError
from mesems_mri.review.accounts import (
    IDLE_MINUTES,
    SINGLE,
    Passwords,
    Person,
    SignInError,
    TriesError,
    begin_session,
    end_session,
)
from mesems_mri.review.actions import ActError
from mesems_mri.review.desk import ClosedError, Desk
from mesems_mri.review.events import MEANINGS, Act
from mesems_mri.review.guard import Application, Guard
from mesems_mri.review.pages import add_pages
from mesems_mri.review.pictures import PictureError
from mesems_mri.review.requests import Grow, Nothing, SignIn, parse_event
from mesems_mri.review.service import COOKIE, Service, ServiceOptions
from mesems_mri.review.store import StaleError, Task, tasks
from mesems_mri.review.view import task_row, task_view

STATIC = Path(__file__).parent / "static"
_SMALL_BODY = 16 * 1024
_log = logging.getLogger(__name__)
Body = TypeVar("Body", bound=BaseModel)


def create_app(
    desk: Desk, options: ServiceOptions | None = None, passwords: Passwords | None = None
) -> Application:
    """Make the service of a reading.

    Parameters
    ----------
    desk : Desk
    options : ServiceOptions, optional
    passwords : Passwords, optional
    """
    chosen = options or ServiceOptions()
    single = (
        Person(name=SINGLE, role=SINGLE, csrf=secrets.token_urlsafe(32)) if desk.settings.single else None
    )
    service = Service(desk, passwords or Passwords(desk.store), chosen, single)
    # the interactive pages load their scripts from elsewhere
    app = FastAPI(title="mesems-mri review", docs_url=None, redoc_url=None, openapi_url=None)
    _answer_errors(app)
    _add_sessions(app, service)
    _add_tasks(app, service)
    _add_acts(app, service)
    if single is None:
        add_pages(app, service)
    _add_static(app)
    return Guard(app, chosen.hosts, chosen.body_bytes)


def _answer_errors(app: FastAPI) -> None:
    """Answer errors with one sentence that names no visit."""

    @app.exception_handler(StaleError)
    async def stale(_: Request, error: StaleError) -> JSONResponse:
        return JSONResponse({"detail": str(error), "revision": error.revision}, 409)

    @app.exception_handler(ClosedError)
    async def closed(_: Request, error: ClosedError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    @app.exception_handler(ActError)
    async def impossible(_: Request, error: ActError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 400)

    @app.exception_handler(PictureError)
    async def no_picture(_: Request, error: PictureError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 404)

    @app.exception_handler(SignInError)
    async def not_signed_in(_: Request, error: SignInError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 401)

    @app.exception_handler(TriesError)
    async def too_many(_: Request, error: TriesError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 429, headers={"Retry-After": "900"})

    @app.exception_handler(KeyError)
    async def not_there(_: Request, __: KeyError) -> JSONResponse:
        return JSONResponse({"detail": "there is no such task or image"}, 404)

    @app.exception_handler(MesemsError)
    async def not_readable(_: Request, error: MesemsError) -> JSONResponse:
        _log.error("%s", error)  # its words name the visit, which a reader must not learn
        return JSONResponse({"detail": "this visit cannot be read at present; tell the manager"}, 503)

    @app.exception_handler(DBAPIError)
    async def no_database(_: Request, error: DBAPIError) -> JSONResponse:
        _log.error("%s", error.orig)
        return JSONResponse({"detail": "the database does not answer; try again"}, 503)


def _add_sessions(app: FastAPI, service: Service) -> None:
    """Add the routes of the session."""

    @app.get("/api/session")
    async def get_session(request: Request) -> dict[str, Any]:
        return _session(service, await service.who(request))

    @app.post("/api/login")
    async def login(request: Request) -> Response:
        service.check_origin(request)
        if service.single:
            return JSONResponse(_session(service, service.single))
        given = await _body(request, SignIn)
        address = request.client.host if request.client else ""
        role = await run_in_threadpool(service.passwords.check, given.name, given.password, address)
        token, person = await run_in_threadpool(_begin, service, given.name, role, address)
        answer = JSONResponse(_session(service, person))
        answer.set_cookie(
            COOKIE, token, httponly=True, samesite="strict", secure=service.options.secure, path="/"
        )
        return answer

    @app.post("/api/logout")
    async def logout(request: Request) -> Response:
        person = await service.person(request)
        await _body(request, Nothing)
        if service.single is None:
            await run_in_threadpool(_end, service, request.cookies.get(COOKIE, ""), person.name)
        answer = JSONResponse({})
        answer.delete_cookie(COOKIE, path="/")
        return answer


def _session(service: Service, person: Person | None) -> dict[str, Any]:
    return {
        "signed_in": person is not None,
        "name": person.name if person else None,
        "role": str(person.role) if person else None,
        "mode": "single" if service.single else "centre",
        "csrf": person.csrf if person else "",
        "idle_minutes": IDLE_MINUTES,
    }


def _begin(service: Service, name: str, role: str, address: str) -> tuple[str, Person]:
    with service.desk.store.writing() as connection:
        return begin_session(connection, name, role, address)


def _end(service: Service, token: str, name: str) -> None:
    with service.desk.store.writing() as connection:
        end_session(connection, token, name)


def _add_tasks(app: FastAPI, service: Service) -> None:
    """Add the routes that show a reader his tasks."""
    desk = service.desk

    @app.get("/api/tasks")
    async def get_tasks(request: Request) -> dict[str, Any]:
        person = await service.person(request)
        return {"tasks": [task_row(task) for task in await run_in_threadpool(_own, desk, person.name)]}

    @app.get("/api/tasks/{task_id}")
    async def get_task(request: Request, task_id: str, after: BackgroundTasks) -> dict[str, Any]:
        person, _ = await service.task(request, task_id)
        shown = await run_in_threadpool(_shown, desk, task_id, person.name)
        if shown["next_task_id"]:
            after.add_task(_prepare, desk, shown["next_task_id"])
        return shown

    @app.get("/api/tasks/{task_id}/images/{name}.nii.gz")
    async def get_image(request: Request, task_id: str, name: str) -> FileResponse:
        person, _ = await service.task(request, task_id)
        path = await run_in_threadpool(desk.picture, task_id, person.name, name)
        # the time of the file would tell when a visit was first looked at
        return _Plain(path, media_type="application/gzip")

    @app.get("/api/tasks/{task_id}/segmentation.nii.gz")
    async def get_segmentation(request: Request, task_id: str) -> Response:
        person, _ = await service.task(request, task_id)
        content = await run_in_threadpool(desk.segmentation, task_id, person.name)
        return Response(content, media_type="application/gzip")


class _Plain(FileResponse):
    """A file without the time of its last change."""

    def set_stat_headers(self, stat_result: Any) -> None:
        self.headers.setdefault("content-length", str(stat_result.st_size))


def _prepare(desk: Desk, task_id: str) -> None:
    """Prepare the next task; whoever opens it sees what is wrong with it."""
    try:
        desk.prepare(task_id)
    except MesemsError as error:
        _log.warning("%s", error)


def _own(desk: Desk, name: str) -> list[Task]:
    with desk.store.reading() as connection:
        return tasks(connection, reader=name)


def _shown(desk: Desk, task_id: str, name: str) -> dict[str, Any]:
    task, state = desk.opened(task_id, name)
    visit = desk.visit(task.visit)
    others = _own(desk, name)
    following = [t for t in others if t.position > task.position] + others
    next_task_id = next((t.task_id for t in following if t.state != "signed" and t.task_id != task_id), None)
    shown = task_view(
        task,
        visit,
        state,
        desk.crop(state, visit),
        desk.pictures(visit).values(),
        next_task_id=next_task_id,
    )
    if state.stage == "adjudication":
        shown["part_reads"] = desk.part_reads(task.visit)
    return shown


def _add_acts(app: FastAPI, service: Service) -> None:
    """Add the routes by which a reader changes a read."""
    desk = service.desk

    @app.post("/api/tasks/{task_id}/grow")
    async def post_grow(request: Request, task_id: str) -> dict[str, Any]:
        person, _ = await service.task(request, task_id)
        given = await _body(request, Grow)
        return await run_in_threadpool(desk.grow, task_id, person.name, given.kind, given.at)

    @app.post("/api/tasks/{task_id}/events")
    async def post_event(request: Request, task_id: str) -> dict[str, Any]:
        person, task = await service.task(request, task_id)
        try:
            act, revision, given = parse_event(await request.body())
        except ValueError as error:
            raise HTTPException(400, _sentence(error)) from error
        if act is Act.SIGN:
            await _check_signature(service, person, task, given, request)
        return await run_in_threadpool(desk.act, task_id, person.name, revision, act, given)


async def _check_signature(
    service: Service, person: Person, task: Task, given: dict[str, Any], request: Request
) -> None:
    """Ask for the password again, and for the meaning of the signature (21 CFR 11.50)."""
    if given["meaning"] != MEANINGS[task.stage]:
        raise HTTPException(400, f"the meaning of the signature must be: {MEANINGS[task.stage]}")
    password = given.pop("password", None)
    if service.single:
        return
    address = request.client.host if request.client else ""
    await run_in_threadpool(service.passwords.check, person.name, password or "", address)


async def _body(request: Request, model: type[Body]) -> Body:
    body = await request.body()
    if len(body) > _SMALL_BODY:
        raise HTTPException(413, "the request is too large")
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise HTTPException(400, _sentence(error)) from error


def _sentence(error: ValueError) -> str:
    """Describe what is wrong with a body, without repeating it."""
    if not isinstance(error, ValidationError):
        return "the request cannot be understood; load the page again"
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:60]
    return f"{where or 'the request'}: {first['msg'][:200]}"


def _add_static(app: FastAPI) -> None:
    """Add the page."""

    @app.get("/")
    async def index() -> Response:
        return _page("index.html")

    @app.get("/read/{task_id}")
    async def read(task_id: str) -> Response:
        return _page("read.html")

    if STATIC.is_dir():
        app.mount("/static", StaticFiles(directory=STATIC), name="static")


def _page(name: str) -> Response:
    path = STATIC / name
    if not path.is_file():
        raise HTTPException(404, "the page is not installed")
    return Response(path.read_bytes(), media_type="text/html; charset=utf-8")
