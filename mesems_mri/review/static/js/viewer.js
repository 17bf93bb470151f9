/** All panels: one cross-hair, one scroll, one zoom; the window by contrast; mouse, touch and wheel. */

import { h } from "./dom.js";
import { firstWindow, load } from "./volume.js";
import { fromPlane, layOut, PLANES, toPlane } from "./orientation.js";
import { cut, flat, outlinesOf, Segmentation } from "./segmentation.js";
import { Panel } from "./panel.js";
import { VISITS } from "./words.js";

const ORDER = ["FLAIR", "T1w", "ce-T1w", "T2w", "PDw"];
const LOADED_FIRST = ["FLAIR", "ce-T1w", "T1w", "T2w", "PDw"];
const AT_ONCE = 3;
const MAX_ZOOM = 12;
const WHEEL_STEP = 60;

export class Viewer extends EventTarget {
  /** @param {HTMLElement} host */
  constructor(host) {
    super();
    this.host = host;
    this.view = {
      cross: [0, 0, 0],
      pan: [0, 0],
      zoom: 1,
      windows: {},
      crosshair: true,
      smooth: true,
      brush: null,
    };
    this.planeName = "axial";
    this.outlines = "all"; // all, selected, none
    this.difference = false;
    this.swapped = false;
    this.only = null; // a contrast shown alone
    this.images = [];
    this.panels = [];
    this.findings = [];
    this.selected = null;
    this.marked = new Set();
    this.draft = null; // {mask}
    this.tool = null; // null, "add", "edit"
    this.segmentation = null;
    this.segmentationKey = 0;
    this.grid = null;
    this.pointers = new Map();
    this.#listen();
  }

  /** Put panels up for the images of a task; nothing is loaded yet. */
  open(images) {
    this.images = images.map((image) => ({
      ...image,
      windowKey: image.visit === "difference" ? `difference ${image.contrast}` : image.contrast,
    }));
    this.contrasts = ORDER.filter((c) => images.some((i) => i.contrast === c && i.visit !== "difference"));
    for (const { contrast } of images) if (!this.contrasts.includes(contrast)) this.contrasts.push(contrast);
    this.rows = ["current", ...(images.some((i) => i.visit === "prior") ? ["prior"] : [])];
    this.panels = this.rows.flatMap((row) => this.contrasts.map((contrast) => new Panel(row, contrast)));
    this.host.replaceChildren(...this.panels.map((panel) => panel.element));
    this.#arrange();
    for (const panel of this.panels) this.#name(panel);
  }

  get hasDifference() {
    return this.images.some((image) => image.visit === "difference");
  }

  /** Load all images, that of the current visit which is read first before the others. */
  async load(onFirst) {
    const rank = ({ visit, contrast }) =>
      ["current", "prior", "difference"].indexOf(visit) * 10 + LOADED_FIRST.indexOf(contrast);
    const flairs = (image) => image.contrast === this.contrasts[0] && image.visit !== "difference";
    const queue = [...this.images].sort((a, b) => flairs(b) - flairs(a) || rank(a) - rank(b));
    const one = async (image, priority) => {
      const panels = () => this.panels.filter((panel) => this.#imageOf(panel) === image);
      try {
        const array = await load(image.url, priority);
        if (!this.grid) this.#setGrid(array);
        if (array.shape.some((n, axis) => n !== this.grid.shape[axis])) throw new Error("Not in the grid of the other images.");
        this.view.windows[image.windowKey] ??= firstWindow(array, image.visit === "difference");
        image.array = array;
      } catch (error) {
        image.failed = error.message;
      }
      for (const panel of panels()) this.#name(panel);
      this.draw();
    };
    if (queue.length) await one(queue.shift(), "high");
    onFirst?.();
    const worker = async () => {
      while (queue.length) await one(queue.shift());
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  #setGrid(array) {
    const { shape, spacing, affine } = array;
    this.grid = { shape, spacing, affine };
    this.plane = layOut(this.planeName, this.grid);
    if (!this.placed) this.view.cross = shape.map((n) => Math.floor(n / 2));
    this.segmentation ??= Segmentation.empty(shape);
    this.fit();
    this.dispatchEvent(new Event("grid"));
  }

  setSegmentation(segmentation) {
    this.segmentation = segmentation;
    this.segmentationKey++;
    this.draw();
  }

  // what is shown

  #imageOf(panel) {
    let { row } = panel;
    if (this.swapped && this.rows.length > 1) row = row === "current" ? "prior" : "current";
    if (this.difference && panel.row === this.rows.at(-1)) {
      const found = this.images.find((i) => i.visit === "difference" && i.contrast === panel.contrast);
      if (found) return found;
    }
    return this.images.find((i) => i.visit === row && i.contrast === panel.contrast);
  }

  #name(panel) {
    const image = this.#imageOf(panel);
    const visit = image?.visit ?? panel.row;
    panel.element.dataset.shown = visit;
    panel.title.textContent = `${panel.contrast} \u00b7 ${VISITS[visit]}`;
    if (!image) panel.say(`No ${panel.contrast} at ${visit === "prior" ? "the prior visit" : "this visit"}`);
    else panel.say(image.failed ?? (image.array ? "" : "Loading\u2026"));
  }

  #arrange() {
    const n = this.contrasts.length;
    const columns = this.only ? 1 : this.rows.length === 1 && n > 3 ? Math.ceil(n / 2) : n; // one visit: two rows
    this.host.dataset.columns = String(columns);
    this.host.classList.toggle("alone", Boolean(this.only));
    for (const panel of this.panels) panel.element.hidden = Boolean(this.only) && panel.contrast !== this.only;
    this.host.dataset.rows = String(this.rows.length);
    this.fit();
  }

  fit() {
    for (const panel of this.panels) if (!panel.element.hidden) panel.fit();
    this.draw();
  }

  draw() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.#drawNow();
    });
  }

  #drawNow() {
    const { plane, view } = this;
    const overlay = { outlines: plane && this.segmentation ? this.#outlinesHere() : [] };
    for (const panel of this.panels) {
      if (panel.element.hidden) continue;
      const image = this.#imageOf(panel);
      panel.draw(image?.array ? image : null, view, plane, overlay);
      if (!plane) continue;
      // slices are counted from the feet, from the back and from the left
      const slice = plane.wSign > 0 ? view.cross[plane.w] + 1 : plane.depth - view.cross[plane.w];
      const window = view.windows[image?.windowKey];
      panel.place.textContent = window
        ? `${slice} \u00b7 W ${short(window.high - window.low)} L ${short((window.high + window.low) / 2)}`
        : "";
      panel.letters.forEach((letter, n) => (letter.textContent = plane.letters[n]));
      panel.canvas.setAttribute(
        "aria-label",
        `${panel.title.textContent}, ${plane.name} slice ${slice} of ${plane.depth}`,
      );
    }
    this.dispatchEvent(new Event("drawn"));
  }

  #outlinesHere() {
    const { plane, view } = this;
    const index = view.cross[plane.w];
    const found = [];
    if (this.outlines !== "none") {
      const key = [plane.name, index, this.segmentationKey].join();
      if (key !== this.outlineKey) {
        this.outlineKey = key;
        this.traced = this.segmentation.outlines(plane, index);
      }
      for (const { kind, label, lines } of this.traced) {
        const finding = this.findings.find((f) => f.label === label && (kind === "any" || f.kind === kind));
        if (!finding) continue;
        const selected = finding.finding_id === this.selected;
        const edited = selected && this.tool === "edit";
        if (edited || (this.outlines === "selected" && !selected)) continue;
        const marked = this.marked.has(finding.finding_id);
        const offered = finding.origin === "offered";
        found.push({ kind: finding.kind, decision: finding.decision, offered, selected, marked, lines });
      }
      found.sort((a, b) => a.selected - b.selected);
    }
    if (this.draft) {
      const slice = cut(this.draft.mask, plane, this.grid.shape, index);
      for (const [, lines] of outlinesOf(slice, plane)) found.push({ draft: true, lines });
    }
    return found;
  }

  /** Place of the cross-hair in mm, and what the images of a visit are there. */
  here() {
    if (!this.grid) return null;
    const { cross } = this.view;
    const mm = this.grid.affine.map((row) => row[0] * cross[0] + row[1] * cross[1] + row[2] * cross[2] + row[3]);
    const at = flat(cross, this.grid.shape);
    const values = this.images
      .filter((image) => image.array && image.visit !== "difference")
      .map(({ visit, contrast, array }) => ({ visit, contrast, value: array.volumes[0][at] * array.slope + array.inter }));
    return { mm, values };
  }

  // where one looks

  /** Move the cross-hair; a place outside of what is shown is moved into the middle. */
  go(voxel) {
    this.placed = true;
    if (!this.grid) {
      this.view.cross = [...voxel];
      return;
    }
    this.view.cross = voxel.map((v, axis) => Math.min(this.grid.shape[axis] - 1, Math.max(0, Math.round(v))));
    this.#keepInSight();
    this.#moved();
  }

  #keepInSight() {
    const panel = this.panels.find((p) => !p.element.hidden);
    if (!panel || this.view.zoom <= 1) return;
    const { plane, view } = this;
    const [column, row] = toPlane(plane, view.cross);
    const { scale, left, top } = panel.frame(plane, view);
    const x = left + (column + 0.5) * plane.du * scale;
    const y = top + (row + 0.5) * plane.dv * scale;
    const inside = (at, size) => at > size * 0.12 && at < size * 0.88;
    if (inside(x, panel.width) && inside(y, panel.height)) return;
    this.#centre();
  }

  #centre() {
    const { plane, view } = this;
    const [column, row] = toPlane(plane, view.cross);
    view.pan = [(column + 0.5 - plane.width / 2) * plane.du, (row + 0.5 - plane.height / 2) * plane.dv];
  }

  #moved() {
    this.draw();
    this.dispatchEvent(new Event("cross"));
  }

  /** Scroll through slices; towards superior, anterior or right for a positive number. */
  scroll(slices) {
    if (!this.plane) return;
    const { w, wSign, depth } = this.plane;
    const index = this.view.cross[w] + slices * wSign;
    this.view.cross[w] = Math.min(depth - 1, Math.max(0, index));
    this.#moved();
  }

  /** Zoom about a point of a panel, or with the cross-hair in the middle. */
  zoom(factor, panel, x, y) {
    const { view, plane } = this;
    if (!plane) return;
    const zoom = Math.min(MAX_ZOOM, Math.max(1, view.zoom * factor));
    const before = panel?.under(x, y, plane, view);
    view.zoom = zoom;
    if (zoom === 1) view.pan = [0, 0];
    else if (!panel) this.#centre();
    else {
      const after = panel.under(x, y, plane, view);
      this.#pan((before[0] - after[0]) * plane.du, (before[1] - after[1]) * plane.dv);
    }
    this.draw();
  }

  #pan(du, dv) {
    const { view, plane } = this;
    const limit = (value, half) => Math.min(half, Math.max(-half, value));
    view.pan = [
      limit(view.pan[0] + du, (plane.width * plane.du) / 2),
      limit(view.pan[1] + dv, (plane.height * plane.dv) / 2),
    ];
  }

  reset() {
    this.view.zoom = 1;
    this.view.pan = [0, 0];
    const loaded = this.images.filter((image) => image.array).sort((a, b) => (a.visit < b.visit ? 1 : -1)); // current last
    for (const image of loaded) this.view.windows[image.windowKey] = firstWindow(image.array, image.visit === "difference");
    this.draw();
  }

  setPlane(name) {
    this.planeName = name;
    if (this.grid) this.plane = layOut(name, this.grid);
    this.view.pan = [0, 0];
    if (this.grid && this.view.zoom > 1) this.#keepInSight();
    this.draw();
    this.dispatchEvent(new Event("mode"));
  }

  nextPlane() {
    this.setPlane(PLANES[(PLANES.indexOf(this.planeName) + 1) % PLANES.length]);
  }

  set(name, value) {
    if (name === "crosshair") this.view.crosshair = value;
    else this[name] = value;
    if (name === "only") this.#arrange();
    for (const panel of this.panels) this.#name(panel);
    this.draw();
    this.dispatchEvent(new Event("mode"));
  }

  // mouse, touch, wheel

  #listen() {
    const { host } = this;
    host.addEventListener("contextmenu", (event) => event.preventDefault());
    host.addEventListener("pointerdown", (event) => this.#down(event));
    host.addEventListener("pointermove", (event) => this.#move(event));
    for (const type of ["pointerup", "pointercancel"]) host.addEventListener(type, (event) => this.#up(event));
    host.addEventListener("pointerleave", () => {
      if (this.view.brush) this.view.brush = null;
      this.draw();
    });
    host.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    host.addEventListener("dblclick", (event) => {
      const panel = this.#panelAt(event);
      if (panel && !this.tool) this.set("only", this.only ? null : panel.contrast);
    });
    new ResizeObserver(() => this.fit()).observe(host);
  }

  #panelAt(event) {
    // a captured pointer makes the host the target
    const element = event.target.closest?.(".panel") ?? document.elementFromPoint(event.clientX, event.clientY)?.closest(".panel");
    return this.panels.find((panel) => panel.element === element);
  }

  #point(event, panel) {
    const box = panel.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #voxel(event, panel) {
    const [x, y] = this.#point(event, panel);
    const [column, row] = panel.under(x, y, this.plane, this.view);
    return { column, row, voxel: fromPlane(this.plane, column, row, this.view.cross) };
  }

  #down(event) {
    const panel = this.#panelAt(event);
    if (!panel || !this.plane) return;
    event.preventDefault();
    document.activeElement?.blur?.();
    this.host.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size === 2) {
      const [a, b] = [...this.pointers.values()];
      this.drag = { kind: "pinch", panel, distance: Math.hypot(a[0] - b[0], a[1] - b[1]) };
      return;
    }
    const start = { panel, x: event.clientX, y: event.clientY };
    const image = this.#imageOf(panel);
    if (event.button === 2 && image?.array) {
      const window = this.view.windows[image.windowKey];
      this.drag = { ...start, kind: "window", key: image.windowKey, from: { ...window } };
    } else if (event.button === 1 || (event.button === 0 && event.shiftKey)) {
      this.drag = { ...start, kind: "pan" };
    } else if (event.button === 0 && this.tool === "edit") {
      this.drag = { ...start, kind: "brush" };
      this.dispatchEvent(new CustomEvent("stroke", { detail: { ...this.#voxel(event, panel), begin: true, erase: event.altKey } }));
    } else if (event.button === 0 && this.tool === "add") {
      const { voxel } = this.#voxel(event, panel);
      this.go(voxel);
      this.dispatchEvent(new CustomEvent("seed", { detail: { voxel } }));
    } else if (event.button === 0) {
      this.drag = { ...start, kind: "cross" };
      const { voxel } = this.#voxel(event, panel);
      this.view.cross = voxel;
      this.#moved();
      this.dispatchEvent(new CustomEvent("pick", { detail: { voxel } }));
    }
  }

  #move(event) {
    const panel = this.drag?.panel ?? this.#panelAt(event);
    if (!panel || !this.plane) return;
    if (this.tool === "edit") {
      const { column, row } = this.#voxel(event, panel);
      this.view.brush = { column, row, radius: this.brushRadius, erase: event.altKey || this.erasing };
      this.draw();
    } else if (this.view.brush) this.view.brush = null;
    if (!this.drag) return;
    const { drag } = this;
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (drag.kind === "pinch") {
      if (this.pointers.size < 2) return;
      const [a, b] = [...this.pointers.values()];
      const distance = Math.hypot(a[0] - b[0], a[1] - b[1]);
      const box = panel.canvas.getBoundingClientRect();
      this.zoom(distance / drag.distance, panel, (a[0] + b[0]) / 2 - box.left, (a[1] + b[1]) / 2 - box.top);
      drag.distance = distance;
      return;
    }
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (drag.kind === "window") {
      const range = drag.from.high - drag.from.low;
      const width = Math.max(range * 0.02, range * Math.exp(dx / 180));
      const level = (drag.from.high + drag.from.low) / 2 + (dy / 250) * range;
      this.view.windows[drag.key] = { low: level - width / 2, high: level + width / 2 };
      this.draw();
    } else if (drag.kind === "pan") {
      const { scale } = panel.frame(this.plane, this.view);
      this.#pan(-dx / scale, -dy / scale);
      [drag.x, drag.y] = [event.clientX, event.clientY];
      this.draw();
    } else if (drag.kind === "brush") {
      this.dispatchEvent(new CustomEvent("stroke", { detail: { ...this.#voxel(event, panel), erase: event.altKey } }));
    } else if (drag.kind === "cross") {
      this.view.cross = this.#voxel(event, panel).voxel;
      this.#moved();
    }
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
    if (this.drag?.kind === "brush") this.dispatchEvent(new Event("strokeend"));
    this.drag = null;
  }

  #wheel(event) {
    event.preventDefault();
    const panel = this.#panelAt(event);
    const delta = event.deltaMode ? event.deltaY * 33 : event.deltaY;
    if (event.ctrlKey && panel) {
      this.zoom(Math.exp(-Math.max(-120, Math.min(120, delta)) / 400), panel, ...this.#point(event, panel));
      return;
    }
    this.wheeled = (Math.sign(this.wheeled ?? 0) === Math.sign(delta) ? this.wheeled : 0) + delta;
    const slices = Math.trunc(this.wheeled / WHEEL_STEP) || (Math.abs(delta) >= 100 ? Math.sign(delta) : 0);
    if (!slices) return;
    this.wheeled = 0;
    this.scroll(-Math.sign(slices) * Math.min(3, Math.abs(slices)));
  }
}

/** A number in few digits. */
export function short(value) {
  const size = Math.abs(value);
  return size >= 100 ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : value.toFixed(2);
}
