"""A service that speaks the contract of the reading page over synthetic visits, in memory.

It is there to meet the page in a browser without a trial: ``python -m tests.system.fake_review --port 8123``
(``--centre`` asks for a password, ``--spacing 1`` is as large as real images). What tests turn is attributes.
"""

import argparse
import copy
import gzip
import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from scipy import ndimage

from tests.system.postgres import free_port
from tests.system.synthetic_visit import PLANTED, Mask, SyntheticVisit

STATIC = Path(__file__).parents[2] / "mesems_mri" / "review" / "static"
POLICY = "default-src 'self'"
PASSWORD = "correct horse"
REASONS = {
    "missing_scan": "A scan is missing",
    "artefact": "Artefact, for example motion",
    "incomplete_coverage": "Brain not covered completely",
    "wrong_head": "Not the head of this participant",
    "no_postcontrast": "No post-contrast T1w",
}
COMMENTS = {
    "vessel": "Vessel",
    "flow_artefact": "Flow artefact",
    "motion": "Motion",
    "confluent": "Part of a confluent lesion",
    "small": "Below the size of a focus",
}
STATUSES = ["new", "enlarging", "stable", "enhancing", "persistent"]
KIND_STATUS = {"t2": "t2_status", "gel": "gd_status"}
_BALL = ndimage.generate_binary_structure(3, 3)


def runs_of(mask: Mask) -> list[list[int]]:
    """Encode a mask as runs over the C-order flat index."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel().view(np.int8), [0]])))
    return [[int(a), int(b - a)] for a, b in edges.reshape(-1, 2)]


def mask_of(runs: list[list[int]], shape: tuple[int, ...]) -> Mask:
    """Decode runs over the C-order flat index."""
    mask = np.zeros(int(np.prod(shape)), bool)
    for start, length in runs:
        if not 0 <= start < start + length <= mask.size:
            raise HTTPException(400, "The mask does not fit the images.")
        mask[start : start + length] = True
    return mask.reshape(shape)


@dataclass
class Task:
    """One reading of one visit."""

    label: str
    visit: SyntheticVisit
    stage: str = "assisted"
    task_id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: str = "open"
    revision: int = 0
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)
    masks: dict[str, Mask] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    previews: dict[str, dict[str, Any]] = field(default_factory=dict)
    undo: list[Any] = field(default_factory=list)
    drawn: int = 0
    packed: tuple[int, bytes] | None = None
    signed: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.parts = {p: {"evaluable": True, "reason": None} for p in ("gel", "t2_change", "t2")}
        if self.stage == "unassisted":
            return
        for planted, mask in zip(PLANTED, self.visit.masks, strict=True):
            finding = self.put(mask, planted.kind, planted.origin)
            finding |= {
                "t2_status": planted.t2_status if self.visit.prior else None,
                "gd_status": planted.gd_status if self.visit.prior else None,
                "score": planted.score,
                "region": planted.region,
                "why_not_counted": "Score below the operating point" if planted.origin == "offered" else None,
            }
            if self.stage == "adjudication":
                finding["reads"] = self._reads(planted.origin, planted.score, finding)

    @staticmethod
    def _reads(origin: str, score: float, finding: dict[str, Any]) -> list[dict[str, Any]]:
        """Two reads that agree on what is plain."""
        a = {"reader": "A", "decision": "accepted" if origin == "counted" else "rejected"}
        a |= {"t2_status": finding["t2_status"], "gd_status": finding["gd_status"], "comment": None}
        b = copy.deepcopy(a) | {"reader": "B"}
        if score < 0.4:
            b["decision"] = "unsure"
        elif score < 0.8:
            b |= {"decision": "rejected", "comment": "vessel"}
        elif finding["t2_status"] == "enlarging":
            b["t2_status"] = "new"
        return [a, b]

    def put(self, mask: Mask, kind: str, origin: str, finding_id: str | None = None) -> dict[str, Any]:
        """Put a finding in, or a new mask in its place."""
        finding_id = finding_id or secrets.token_hex(4)
        label = 1 + max((f["label"] for f in self.findings.values()), default=0)
        old = self.findings.get(finding_id)
        finding = old or {
            "finding_id": finding_id,
            "kind": kind,
            "origin": origin,
            "label": label,
            "decision": "undecided" if origin != "reader" else "accepted",
            "t2_status": None,
            "gd_status": None,
            "score": None,
            "region": "deep_white_matter",
            "why_not_counted": None,
            "comment": None,
            "needs_decision": origin == "counted",
        }
        centre = [float(v) for v in ndimage.center_of_mass(mask)]
        extent = np.argwhere(mask)
        finding |= {
            "volume_mm3": round(float(mask.sum()) * self.visit.spacing**3, 1),
            "max_diameter_mm": round(float(np.ptp(extent, axis=0).max() + 1) * self.visit.spacing, 1),
            "slice": [round(v) for v in centre],
        }
        finding |= dict(zip("xyz", self.visit.mm(centre), strict=True))
        self.findings[finding_id] = finding
        self.masks[finding_id] = mask
        self.drawn += 1
        return finding

    def segmentation(self) -> np.ndarray:
        """Masks by kind, numbered."""
        labels = np.zeros((*self.visit.shape, 2), np.uint16)
        for finding_id, mask in self.masks.items():
            finding = self.findings[finding_id]
            labels[..., int(finding["kind"] == "gel")][mask] = finding["label"]
        return labels

    def shown(self) -> dict[str, str]:
        """Address and hash of the segmentation."""
        sha = hashlib.sha256(f"{self.task_id} {self.drawn}".encode()).hexdigest()[:16]
        return {"url": f"/api/tasks/{self.task_id}/segmentation.nii.gz?sha={sha}", "sha": sha}

    def snapshot(self) -> Any:
        return copy.deepcopy((self.findings, self.parts)), dict(self.masks)

    def restore(self, snapshot: Any) -> None:
        (self.findings, self.parts), self.masks = snapshot
        self.drawn += 1


class FakeReview:
    """The service in a thread of its own.

    Attributes
    ----------
    fail : int
        So many of the next events fail with 500.
    delay_s : float
        Wait so long before an event is answered.
    events : list
        What came in.
    """

    def __init__(self, *, centre: bool = False, spacing: float = 2.0, port: int | None = None) -> None:
        self.centre, self.fail, self.delay_s = centre, 0, 0.0
        self.events: list[dict[str, Any]] = []
        self.signed_in = not centre
        self.csrf = secrets.token_hex(8)
        with_prior = SyntheticVisit(spacing)
        self.tasks = [
            Task("Case 001, scan 2", with_prior),
            Task("Case 002, scan 1", SyntheticVisit(spacing, axes="PIL", prior=False)),
            Task("Case 003, scan 2", with_prior, "unassisted"),
            Task("Case 004, scan 2", with_prior, "adjudication"),
        ]
        self._packed: dict[tuple[str, str], bytes] = {}
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(self._app(), port=self.port, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> "FakeReview":
        for task in self.tasks:  # a prepared visit
            for name in task.visit.images:
                self._image(task, name)
            self._masks(task)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join()

    def _task(self, task_id: str) -> Task:
        if not self.signed_in:
            raise HTTPException(401, "Sign in first.")
        for task in self.tasks:
            if task.task_id == task_id:
                return task
        raise HTTPException(404, "There is no such task.")

    def _pack(self, array: np.ndarray, affine: np.ndarray) -> bytes:
        image = nib.Nifti1Image(array, affine)
        image.header.set_xyzt_units("mm")
        return gzip.compress(image.to_bytes(), 1, mtime=0)

    def _image(self, task: Task, name: str) -> bytes:
        key = (str(id(task.visit)), name)
        if key not in self._packed:
            self._packed[key] = self._pack(task.visit.images[name], task.visit.affine)
        return self._packed[key]

    def _masks(self, task: Task) -> bytes:
        if task.packed is None or task.packed[0] != task.drawn:
            task.packed = task.drawn, self._pack(task.segmentation(), task.visit.affine)
        return task.packed[1]

    def _app(self) -> FastAPI:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        @app.middleware("http")
        async def headers(request: Request, call_next: Any) -> Response:
            if request.method == "POST" and request.headers.get("X-CSRF-Token") != self.csrf:
                return JSONResponse({"detail": "The form is stale."}, 403)
            response = await call_next(request)
            response.headers["Content-Security-Policy"] = POLICY
            return response

        @app.get("/api/session")
        def session() -> dict[str, Any]:
            return {
                "signed_in": self.signed_in,
                "name": ("Reader 1" if self.centre else None) if self.signed_in else None,
                "role": "reader" if self.centre else "single",
                "mode": "centre" if self.centre else "single",
                "csrf": self.csrf,
                "idle_minutes": 20,
            }

        @app.post("/api/login")
        def login(given: dict[str, Any]) -> dict[str, Any]:
            if given.get("password") != PASSWORD:
                raise HTTPException(401, "Name or password is wrong.")
            self.signed_in, self.csrf = True, secrets.token_hex(8)
            return session()

        @app.post("/api/logout")
        def logout() -> dict[str, Any]:
            self.signed_in = not self.centre
            return {}

        @app.get("/api/tasks")
        def tasks() -> dict[str, Any]:
            if not self.signed_in:
                raise HTTPException(401, "Sign in first.")
            rows = []
            for task in self.tasks:
                undecided = sum(f["decision"] == "undecided" for f in task.findings.values())
                rows.append({k: getattr(task, k) for k in ("task_id", "label", "state", "stage")})
                rows[-1] |= {"undecided": undecided, "total": len(task.findings)}
            return {"tasks": rows}

        @app.get("/api/tasks/{task_id}")
        def task(task_id: str) -> dict[str, Any]:
            found = self._task(task_id)
            after = self.tasks[self.tasks.index(found) + 1 :]
            images = []
            for name in found.visit.images:
                visit, contrast = name.split("_")
                url = f"/api/tasks/{task_id}/images/{name}.nii.gz"
                images.append({"name": name, "visit": visit, "contrast": contrast, "url": url})
            return {
                **{k: getattr(found, k) for k in ("task_id", "label", "stage", "state", "revision", "parts")},
                "images": images,
                "segmentation": found.shown(),
                "findings": list(found.findings.values()),
                "reasons": [{"code": k, "text": v} for k, v in REASONS.items()],
                "comments": [{"code": k, "text": v} for k, v in COMMENTS.items()],
                "statuses": STATUSES if found.visit.prior else ["stable", "enhancing"],
                "can_undo": bool(found.undo),
                "next_task_id": next((t.task_id for t in after if t.state != "signed"), None),
            }

        @app.get("/api/tasks/{task_id}/images/{name}.nii.gz")
        def image(task_id: str, name: str) -> Response:
            return Response(self._image(self._task(task_id), name), media_type="application/gzip")

        @app.get("/api/tasks/{task_id}/segmentation.nii.gz")
        def segmentation(task_id: str) -> Response:
            found = self._task(task_id)
            return Response(self._masks(found), media_type="application/gzip")

        @app.post("/api/tasks/{task_id}/grow")
        def grow(task_id: str, given: dict[str, Any]) -> dict[str, Any]:
            found = self._task(task_id)
            name = "current_FLAIR" if given["kind"] == "t2" else "current_ce-T1w"
            image, at = found.visit.images[name], tuple(given["at"])
            if image[at] < 50:
                nothing = {"preview_id": None, "voxels": [], "volume_mm3": 0, "max_diameter_mm": 0}
                return nothing | {"is_focus": False, "why_not": "nothing stands out around here"}
            near = np.zeros(image.shape, bool)
            near[tuple(slice(max(0, int(v - 9)), int(v + 10)) for v in at)] = True
            labels, _ = ndimage.label(near & (image > image[at] * 0.8), _BALL)
            mask = labels == labels[at]
            volume = float(mask.sum()) * found.visit.spacing**3
            why = None if 14 <= volume < 2000 else "Below 14 mm3" if volume < 14 else "No edge was found"
            preview = {"preview_id": secrets.token_hex(4), "mask": mask, "kind": given["kind"]}
            found.previews[preview["preview_id"]] = preview
            return {
                "preview_id": preview["preview_id"],
                "voxels": runs_of(mask),
                "volume_mm3": round(volume, 1),
                "max_diameter_mm": 6.0,
                "is_focus": why is None,
                "why_not": why,
            }

        @app.post("/api/tasks/{task_id}/events")
        def event(task_id: str, given: dict[str, Any]) -> Any:
            time.sleep(self.delay_s)
            self.events.append(given)
            found = self._task(task_id)
            if self.fail:
                self.fail -= 1
                raise HTTPException(500, "The database does not answer.")
            if given["revision"] != found.revision or (found.state == "signed" and self.centre):
                word = "The reading is signed." if found.state == "signed" else "The reading has changed."
                return JSONResponse({"detail": word, "revision": found.revision}, 409)
            before, earlier = copy.deepcopy(found.findings), found.snapshot()
            act = given["act"]
            if act == "undo":
                if not found.undo:
                    raise HTTPException(400, "There is nothing to undo.")
                found.restore(found.undo.pop())
            elif act == "sign":
                if self.centre and given.get("password") != PASSWORD:
                    raise HTTPException(401, "name or password is wrong")
                if any(f["needs_decision"] and f["decision"] == "undecided" for f in found.findings.values()):
                    raise HTTPException(400, "a finding is not decided yet; decide before you sign")
                found.signed, found.state = given, "signed"
            else:
                self._change(found, given)
                found.undo.append(earlier)
                found.state = "begun"
            found.revision += 1
            return {
                "revision": found.revision,
                "findings": [f for i, f in found.findings.items() if f != before.get(i)],
                "removed": [i for i in before if i not in found.findings],
                "segmentation": found.shown(),
                "can_undo": bool(found.undo),
                "state": found.state,
            }

        @app.get("/")
        def index() -> FileResponse:
            return FileResponse(STATIC / "index.html")

        @app.get("/read/{task_id}")
        def read(task_id: str) -> FileResponse:
            return FileResponse(STATIC / "read.html")

        app.mount("/static", StaticFiles(directory=STATIC))
        return app

    @staticmethod
    def _change(task: Task, given: dict[str, Any]) -> None:
        act = given["act"]
        if act == "not_evaluable":
            for part in task.parts if given["part"] == "all" else [given["part"]]:
                task.parts[part] = {"evaluable": given["reason"] is None, "reason": given["reason"]}
            return
        if act == "add":
            preview = task.previews.pop(given["preview_id"])
            finding = task.put(preview["mask"], given["kind"], "reader")
            finding |= {k: given.get(k) for k in ("t2_status", "gd_status")}
            return
        if act == "merge":
            first, *others = given["finding_ids"]
            mask = np.logical_or.reduce([task.masks[i] for i in given["finding_ids"]])
            for other in others:
                del task.findings[other], task.masks[other]
            task.put(mask, "", "", first)
            return
        finding = task.findings.get(given["finding_id"])
        if finding is None:
            raise HTTPException(404, "There is no such finding.")
        mask = task.masks[finding["finding_id"]]
        if act == "decide":
            finding["decision"] = given["decision"]
            for kind, name in KIND_STATUS.items():
                if given.get(name) and kind != finding["kind"]:
                    raise HTTPException(400, f"a finding of this kind has no {name}")
                finding[name] = given.get(name) or finding[name]  # one that is not given stays
        elif act == "comment":
            finding["comment"] = given["code"]
        elif act == "edit":
            edited = mask_of(given["voxels"], task.visit.shape)
            if not edited.any():
                raise HTTPException(400, "The mask is empty.")
            task.put(edited, "", "", finding["finding_id"])
        elif act == "split":
            points = np.argwhere(mask)
            if len(points) < 2:
                raise HTTPException(400, "A single voxel cannot be split.")
            axis = int(np.argmax(np.ptp(points, axis=0)))
            behind = np.indices(mask.shape)[axis] > np.median(points[:, axis])
            kept = {k: finding[k] for k in ("decision", "t2_status", "gd_status", "score")}
            task.put(mask & ~behind, "", "", finding["finding_id"])
            task.put(mask & behind, finding["kind"], finding["origin"]).update(kept)
        else:
            raise HTTPException(400, "There is no such act.")


def main() -> None:
    """Serve until it is stopped."""
    parser = argparse.ArgumentParser(description="Serve synthetic visits to the reading page.")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--centre", action="store_true")
    parser.add_argument("--spacing", type=float, default=2.0)
    given = parser.parse_args()
    with FakeReview(centre=given.centre, spacing=given.spacing, port=given.port) as fake:
        print(fake.url, flush=True)
        for task in fake.tasks:
            print(f"{fake.url}/read/{task.task_id}", task.label, task.stage, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
