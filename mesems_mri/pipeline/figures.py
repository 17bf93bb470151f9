"""Draw the pictures of a visit for its page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from mesems_mri.dataset.bids import (
    POSTCONTRAST,
    T2_CONTRASTS,
    Contrast,
    T2Contrast,
    image_name,
    t2_contrast_named,
)
from mesems_mri.dataset.records.base import Json
from mesems_mri.dataset.records.parts import CANDIDATE_KINDS
from mesems_mri.dataset.records.visit import VisitRecord
from mesems_mri.errors import Reason
from mesems_mri.images import nifti
from mesems_mri.pipeline.masks import CANDIDATES_DSEG
from mesems_mri.pipeline.visit import VisitFiles
from mesems_mri.report.figures import crop_around, display_range
from mesems_mri.report.panels import PLANES, draw_panel, locate, middle_slices
from mesems_mri.report.pictures import CandidatePictures, FocusPictures, Panel, PictureRow, Pictures
from mesems_mri.report.visit_page import is_shown
from mesems_mri.report.words import CONTRAST_WORDS

_OVERVIEW_SLICES = 24
_HALF_WIDTH = 32
_MOST_CANDIDATES = 16
"""Of each kind; the table lists all."""
_SEEN_ON = {"T2": ("t2", "change"), "enhancing": ("gel",)}
"""Kinds of candidates that are outlined with the lesions of a kind."""
_MARGIN = 4
"""Voxels kept around the brain."""
_T2_KINDS = ("T2", "new", "enlarging")
_COMPARED = (Reason.WRONG_HEAD, Reason.REGISTRATION_FAILED)
"""Reasons that are understood only beside the participant's first visit."""
_DIFFERENCE_WINDOW = (-0.6, 0.6)
"""In units of NAWM; the page says so."""
_DIFFERENCE_SMOOTH_MM = 1.0


def draw_pictures(visit: VisitFiles, record: VisitRecord) -> Pictures:
    """Draw all pictures of a visit; of one that could not be analysed the images as they were sent."""
    if record.status != "done" or not record.preproc:
        return Pictures(sent=_as_sent(visit, record))
    scene = _Scene(visit, record)
    return Pictures(
        overviews=scene.overviews(),
        gallery=tuple(scene.focus(row) for row in record.lesions if is_shown(row) and scene.has(row)),
        candidates=scene.candidates(),
        registration=scene.registration(),
    )


class _Scene:
    """Images and masks of a visit and its reference visit, opened when they are needed."""

    def __init__(self, visit: VisitFiles, record: VisitRecord) -> None:
        self.visit = visit
        self.record = record
        self.preproc = record.preproc
        brain = nifti.read_labels(visit.product("space-subject_desc-brain_mask.nii.gz"))[0] > 0
        self.box = tuple(
            slice(max(int(places[0]) - _MARGIN, 0), int(places[-1]) + 1 + _MARGIN)
            for places in (np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
        )
        self.brain = brain[self.box]
        self.t2_contrast: T2Contrast | None = t2_contrast_named(record.metrics["t2_contrast"])
        rows = record.lesions
        gel = image_name(POSTCONTRAST, "space-subject_desc-enhancing", "dseg.nii.gz")
        grown = "space-subject_label-L_desc-enlarging_mask.nii.gz"
        self.t2 = self._labels("space-subject_desc-T2_dseg.nii.gz")
        # Reading costs more than drawing: what the ledger says is empty is not read.
        self.gel = self._labels(gel, needed=any(r["focus"] == "gel" for r in rows))
        enlarging = any(r["t2_status"] == "enlarging" for r in rows)
        self.enlarging = self._labels(grown, needed=enlarging) > 0
        fresh = [r["lesion_id"] for r in rows if r["focus"] == "t2" and r["t2_status"] == "new"]
        self.new = np.isin(self.t2, fresh) if fresh else np.zeros(self.brain.shape, bool)
        self.offered = self._labels(CANDIDATES_DSEG, needed=bool(record.candidates))
        self._images: dict[str, np.ndarray] = {}
        self._windows: dict[str, tuple[float, float]] = {}

    def _labels(self, name: str, *, needed: bool = True) -> np.ndarray:
        path = self.visit.product(name)
        if not needed or not path.is_file():
            return np.zeros(self.brain.shape, np.int32)
        return nifti.read_labels(path)[0][self.box]

    def image(self, name: str) -> np.ndarray:
        if name not in self._images:
            whole = nifti.read_image(self.visit.resolve(name))[0].array
            self._images[name] = np.ascontiguousarray(whole[self.box])
        return self._images[name]

    def window(self, name: str) -> tuple[float, float]:
        if name not in self._windows:
            self._windows[name] = display_range(self.image(name), self.brain)
        return self._windows[name]

    def has(self, row: Json) -> bool:
        """Return whether the image of the lesion's number is there."""
        return bool((self._dseg(row) == row["lesion_id"]).any())

    def _dseg(self, row: Json) -> np.ndarray:
        return self.gel if row["focus"] == "gel" else self.t2

    def overviews(self) -> tuple[PictureRow, ...]:
        """Draw axial slices through the brain, bottom to top, with all outlines."""
        rows = [
            PictureRow(
                f"{contrast}: T2 lesions and their change", self._slices(contrast, ("T2", "new", "enlarging"))
            )
            for contrast in T2_CONTRASTS
            if contrast == self.t2_contrast and contrast in self.preproc
        ]
        if POSTCONTRAST in self.preproc:
            title = f"{CONTRAST_WORDS[POSTCONTRAST]}: enhancing lesions"
            rows.append(PictureRow(title, self._slices(POSTCONTRAST, ("enhancing",))))
        if not rows:
            contrast = next(iter(self.preproc))
            rows.append(PictureRow(CONTRAST_WORDS.get(contrast, contrast), self._slices(contrast, ())))
        return tuple(rows)

    def _slices(self, contrast: Contrast, kinds: Sequence[str]) -> tuple[Panel, ...]:
        name = self.preproc[contrast]
        sections = np.flatnonzero(self.brain.any(axis=(0, 1)))
        chosen = np.linspace(sections[0], sections[-1], _OVERVIEW_SLICES + 2)[1:-1].astype(int)
        masks = self._masks(kinds)
        offered = self._candidates_of(kinds)
        if offered:
            masks["candidate"] = np.isin(self.offered, list(offered))
        labels = {}
        for row in self.record.lesions:
            kind = "enhancing" if row["focus"] == "gel" else row["t2_status"]
            if is_shown(row) and kind in kinds:
                inside = self._dseg(row) == row["lesion_id"]
                labels[str(row["lesion_id"])] = (inside, str(row["lesion_id"]))
        return tuple(
            draw_panel(
                self.image(name),
                axis=2,
                index=int(index),
                window=self.window(name),
                title=f"{CONTRAST_WORDS[contrast]}, axial slice {place + 1} of {len(chosen)}",
                masks=masks,
                labels=labels,
                candidates={str(i): (self.offered == i, f"c{i}") for i in offered},
            )
            for place, index in enumerate(chosen)
        )

    def _masks(self, kinds: Sequence[str]) -> dict[str, np.ndarray]:
        masks = {"T2": self.t2 > 0, "new": self.new, "enlarging": self.enlarging, "enhancing": self.gel > 0}
        return {kind: masks[kind] for kind in kinds}

    def _candidates_of(self, kinds: Sequence[str]) -> dict[int, Json]:
        """Return the candidates that belong on pictures of lesions of these kinds, by number."""
        wanted = {kind for shown in kinds for kind in _SEEN_ON.get(shown, ())}
        rows = self.record.candidates or ()
        return {row["candidate_id"]: row for row in rows if row["kind"] in wanted}

    def candidates(self) -> tuple[CandidatePictures, ...]:
        """Draw the best candidates of each kind: the image before or a plain one, and three planes now."""
        drawn = []
        there = set(np.unique(self.offered).tolist())
        for kind in CANDIDATE_KINDS:
            rows = [row for row in self.record.candidates or () if row["kind"] == kind]
            seen = [row for row in rows if row["candidate_id"] in there]
            drawn += [self._candidate(row) for row in seen[:_MOST_CANDIDATES]]
        return tuple(drawn)

    def _candidate(self, row: Json) -> CandidatePictures:
        inside = self.offered == row["candidate_id"]
        crop, inner = crop_around(_middle(inside), self.brain.shape, _HALF_WIDTH)
        before, now = self._seen_on(row["kind"])
        window = self.window(now)
        title, name = before or ("without outline", now)
        panels = [
            draw_panel(self.image(name)[crop], axis=2, index=inner[2], window=window, title=f"axial, {title}")
        ]
        masks = {"candidate": inside[crop]}
        panels += [
            draw_panel(
                self.image(now)[crop], axis=axis, index=inner[axis], window=window, title=plane, masks=masks
            )
            for axis, plane in PLANES.items()
        ]
        return CandidatePictures(row, tuple(panels))

    def _seen_on(self, kind: str) -> tuple[tuple[str, str] | None, str]:
        """Return the image that a candidate of a kind is looked at on, and title and image before."""
        record = self.record
        if kind == "gel":
            before = ("before contrast", self.preproc["T1w"]) if "T1w" in self.preproc else None
            return before, self.preproc[POSTCONTRAST]
        if kind == "change" and record.change_contrast and record.reference_preproc:
            reference = str(record.metrics["t2_reference_session_id"])
            return (reference, record.reference_preproc), self.preproc[record.change_contrast]
        assert self.t2_contrast is not None  # a candidate was seen on it
        return None, self.preproc[self.t2_contrast]

    def focus(self, row: Json) -> FocusPictures:
        """Draw a focus in three planes: before, now, their difference, and now with outlines."""
        inside = self._dseg(row) == row["lesion_id"]
        if row["t2_status"] == "enlarging" and (inside & self.enlarging).any():
            inside &= self.enlarging  # of a large lesion show the place that grew
        centre = _middle(inside)
        crop, inner = crop_around(centre, self.brain.shape, _HALF_WIDTH)
        before, now, others, kinds, note = self._columns(row)
        main = self.image(now)[crop]
        shown: list[tuple[str, np.ndarray, tuple[float, float]]] = []
        if before:
            title, name = before
            earlier = self.image(name)[crop]
            brain = self.brain[crop]
            change = ndimage.gaussian_filter(main - earlier, _DIFFERENCE_SMOOTH_MM)
            change -= np.median(change[brain]) if brain.any() else 0.0
            shown.append((title, earlier, self.window(now)))
        shown.append(("now" if row["focus"] == "t2" else "after contrast", main, self.window(now)))
        if before:
            shown.append(("difference", change, _DIFFERENCE_WINDOW))
        shown += [(title, self.image(name)[crop], self.window(name)) for title, name in others]
        masks = {kind: mask[crop] for kind, mask in self._masks(kinds).items()}
        planes = []
        for axis, plane in PLANES.items():
            panels = [
                draw_panel(image, axis=axis, index=inner[axis], window=window, title=f"{plane}, {title}")
                for title, image, window in shown
            ]
            panels.append(
                draw_panel(
                    main,
                    axis=axis,
                    index=inner[axis],
                    window=self.window(now),
                    title=f"{plane}, outlined",
                    masks=masks,
                )
            )
            planes.append(PictureRow(plane, tuple(panels)))
        return FocusPictures(row, self._place(now, centre), tuple(planes), note)

    def _columns(
        self, row: Json
    ) -> tuple[tuple[str, str] | None, str, list[tuple[str, str]], tuple[str, ...], str]:
        """Choose the image before, the one now, further ones, what is outlined, and what to say."""
        if row["focus"] == "gel":
            before = ("before contrast", self.preproc["T1w"]) if "T1w" in self.preproc else None
            t2 = self.preproc.get(self.t2_contrast) if self.t2_contrast else None
            others: list[tuple[str, str]] = [(self.t2_contrast, t2)] if self.t2_contrast and t2 else []
            note = "" if before else "No T1w before contrast: to be confirmed by a reader."
            return before, self.preproc[POSTCONTRAST], others, ("enhancing",), note
        contrast, reference = self.record.change_contrast, self.record.reference_preproc
        assert contrast is not None  # without a reference visit no lesion is new or enlarging
        assert reference is not None
        others = []
        if POSTCONTRAST in self.preproc:
            others = [(CONTRAST_WORDS[POSTCONTRAST], self.preproc[POSTCONTRAST])]
        before = (f"{row['reference_session_id']}", reference)
        return before, self.preproc[contrast], others, _T2_KINDS, f"Seen on {contrast}."

    def _place(self, name: str, centre: Sequence[int]) -> Panel:
        """Draw the axial slice of a focus at half size, with its place marked."""
        image = self.image(name)[::2, ::2, centre[2] : centre[2] + 1]
        panel = draw_panel(image, axis=2, index=0, window=self.window(name), title="place in the axial slice")
        # radiological convention: the array's first axis runs from right to left of the picture
        x, y = (image.shape[i] - 0.5 - centre[i] / 2 for i in (0, 1))
        return locate(panel, centre=(x, y), half_width=8)

    def registration(self) -> tuple[PictureRow, ...]:
        """Draw three slices through the brain of the reference visit and of every contrast."""
        middle = [int(np.median(places)) for places in np.nonzero(self.brain)]
        named = []
        if self.record.reference_preproc and self.record.change_contrast:
            reference = self.record.metrics["t2_reference_session_id"]
            words = CONTRAST_WORDS[self.record.change_contrast]
            named.append((f"{reference}: {words}", self.record.reference_preproc))
        session = self.record.metrics["session_id"]
        order = sorted(self.preproc, key=lambda c: (c != self.record.change_contrast, c != self.t2_contrast))
        named += [(f"{session}: {CONTRAST_WORDS.get(c, c)}", self.preproc[c]) for c in order]
        masks = {"brain": self.brain}
        return tuple(
            PictureRow(
                title,
                tuple(
                    draw_panel(
                        self.image(name),
                        axis=axis,
                        index=middle[axis],
                        window=self.window(name),
                        title=f"{title}, {plane}",
                        masks=masks,
                    )
                    for axis, plane in PLANES.items()
                ),
            )
            for title, name in named
        )


def _middle(inside: np.ndarray) -> tuple[int, ...]:
    """Return the voxel of a focus that lies nearest to its centre."""
    voxels = np.argwhere(inside)
    return tuple(int(c) for c in voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))])


def _as_sent(visit: VisitFiles, record: VisitRecord) -> tuple[PictureRow, ...]:
    """Draw three slices of every image that could be read, in its own grid."""
    rows = []
    for contrast, image in record.images.items():
        if not image.source:
            continue
        panels = _middle_slices(visit.bids_dir / image.source, contrast)
        if panels:
            title = CONTRAST_WORDS.get(contrast, contrast)
            rows.append(PictureRow(f"{title}: {Path(image.source).name}", panels))
    anchor = record.anchor
    if rows and anchor and record.metrics["t2_reason"] in _COMPARED:
        panels = _middle_slices(visit.bids_dir / anchor.source, anchor.contrast)
        title = f"{anchor.session_id}, for comparison: {Path(anchor.source).name}"
        rows += [PictureRow(title, panels)] if panels else []
    return tuple(rows)


def _middle_slices(path: Path, contrast: str) -> tuple[Panel, ...]:
    read = nifti.read_in_ras(path)
    return middle_slices(*read, contrast) if read else ()
