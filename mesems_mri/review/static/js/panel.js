/** One image in its frame: a slice, the outlines, the cross-hair, on a 2D canvas. */

import { h } from "./dom.js";
import { paint } from "./volume.js";
import { toPlane } from "./orientation.js";

const COLOURS = { t2: "#56c7ff", gel: "#ffb000", any: "#56c7ff" };
const DASHES = { accepted: [], undecided: [], unsure: [5, 3], rejected: [1.5, 3.5] };
const DRAFT = "#7dff9b";

export class Panel {
  /** @param {string} row "current" or "prior" @param {string} contrast */
  constructor(row, contrast) {
    this.row = row;
    this.contrast = contrast;
    this.canvas = h("canvas", { class: "slice", role: "img" });
    this.title = h("span", { class: "name" });
    this.place = h("span", { class: "place" });
    this.message = h("p", { class: "message", hidden: true });
    this.letters = ["left", "right", "top", "bottom"].map((side) => h("span", { class: `letter ${side}`, "aria-hidden": "true" }));
    this.element = h(
      "figure",
      { class: "panel", data: { row, contrast } },
      this.canvas,
      h("figcaption", {}, this.title, this.place),
      ...this.letters,
      this.message,
    );
    this.off = document.createElement("canvas");
    this.key = "";
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  }

  say(text) {
    this.message.hidden = !text;
    this.message.textContent = text ?? "";
  }

  fit() {
    const box = this.canvas.getBoundingClientRect();
    this.width = box.width;
    this.height = box.height;
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(box.width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(box.height * this.ratio));
    this.key = "";
  }

  /** Scale (CSS pixels per mm) and place of the slice's corner on the canvas. */
  frame(plane, view) {
    const mmWide = plane.width * plane.du;
    const mmHigh = plane.height * plane.dv;
    const scale = Math.min(this.width / mmWide, this.height / mmHigh) * view.zoom;
    return {
      scale,
      left: this.width / 2 - (mmWide / 2 + view.pan[0]) * scale,
      top: this.height / 2 - (mmHigh / 2 + view.pan[1]) * scale,
    };
  }

  /** Column and row under a point of the canvas, not rounded. */
  under(x, y, plane, view) {
    const { scale, left, top } = this.frame(plane, view);
    return [(x - left) / scale / plane.du, (y - top) / scale / plane.dv];
  }

  draw(image, view, plane, overlay) {
    const { context, ratio } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (!plane || !this.width) return;
    const index = view.cross[plane.w];
    const { scale, left, top } = this.frame(plane, view);
    if (image) {
      const window = view.windows[image.windowKey];
      const key = [image.name, plane.name, index, window.low, window.high].join();
      if (key !== this.key) {
        this.off.width = plane.width;
        this.off.height = plane.height;
        const into = this.off.getContext("2d", { willReadFrequently: true });
        const pixels = into.createImageData(plane.width, plane.height);
        paint(new Uint32Array(pixels.data.buffer), image.array, plane, index, window);
        into.putImageData(pixels, 0, 0);
        this.key = key;
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.imageSmoothingEnabled = view.smooth;
      context.imageSmoothingQuality = "medium";
      context.drawImage(this.off, left, top, plane.width * plane.du * scale, plane.height * plane.dv * scale);
    }
    if (!image) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const outline of overlay.outlines) this.#outline(outline, plane, left, top, scale);
    if (view.crosshair) this.#cross(view, plane, left, top, scale);
    if (view.brush) this.#brush(view.brush, plane, left, top, scale);
  }

  #path(lines, plane, left, top, scale) {
    const { context } = this;
    context.beginPath();
    for (const line of lines) {
      context.moveTo(left + line[0] * plane.du * scale, top + line[1] * plane.dv * scale);
      for (let n = 2; n < line.length; n += 2)
        context.lineTo(left + line[n] * plane.du * scale, top + line[n + 1] * plane.dv * scale);
      context.closePath();
    }
  }

  #outline({ kind, decision, offered, selected, marked, draft, lines }, plane, left, top, scale) {
    const { context } = this;
    const width = draft ? 1.5 : selected ? 1.75 : offered ? 1 : 1.25;
    this.#path(lines, plane, left, top, scale);
    context.setLineDash([]);
    context.lineJoin = "round";
    if (draft) {
      context.fillStyle = "rgba(125, 255, 155, 0.22)";
      context.fill("evenodd");
    }
    context.strokeStyle = selected && !draft ? "rgba(255, 255, 255, 0.85)" : "rgba(0, 0, 0, 0.55)";
    context.lineWidth = width + 1.5;
    const faint = decision === "rejected" || (offered && decision === "undecided");
    if (selected || draft || marked || !faint) context.stroke();
    context.strokeStyle = draft ? DRAFT : COLOURS[kind];
    context.lineWidth = width + (marked ? 1 : 0);
    context.setLineDash(draft ? [] : (DASHES[decision] ?? []));
    context.stroke();
    context.setLineDash([]);
  }

  #cross(view, plane, left, top, scale) {
    const { context } = this;
    const [column, row] = toPlane(plane, view.cross);
    const x = left + (column + 0.5) * plane.du * scale;
    const y = top + (row + 0.5) * plane.dv * scale;
    const gap = 11;
    context.strokeStyle = "rgba(255, 236, 130, 0.8)";
    context.lineWidth = 1;
    context.beginPath();
    for (const [x0, y0, x1, y1] of [
      [0, y, x - gap, y],
      [x + gap, y, this.width, y],
      [x, 0, x, y - gap],
      [x, y + gap, x, this.height],
    ]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.stroke();
  }

  #brush({ column, row, radius, erase }, plane, left, top, scale) {
    const { context } = this;
    context.strokeStyle = erase ? "#ff8a8a" : DRAFT;
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(left + column * plane.du * scale, top + row * plane.dv * scale, radius * scale, 0, 2 * Math.PI);
    context.stroke();
  }
}
