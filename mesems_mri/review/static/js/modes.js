/** Modes of work on the images: adding a finding from a seed, editing an outline with a brush. */

import { sentence } from "./api.js";
import { $, announce, h, kbd } from "./dom.js";
import { fromRuns, toRuns } from "./segmentation.js";
import { MaskDraft } from "./brush.js";
import { KIND_NAMES, KINDS, nameOf, number, STATUSES, STATUS_KEYS } from "./words.js";

const RADII = [0.5, 1, 1.5, 2, 3, 4, 6, 8, 12];

class Mode {
  constructor(app, name) {
    this.app = app;
    this.name = name;
  }

  get viewer() {
    return this.app.viewer;
  }

  begin() {
    this.viewer.host.dataset.tool = this.name;
    this.viewer.set("tool", this.name);
    this.show();
  }

  leave() {
    this.viewer.draft = null;
    this.viewer.view.brush = null;
    delete this.viewer.host.dataset.tool;
    this.viewer.set("tool", null);
    $("mode").hidden = true;
    this.app.list.show();
  }

  button(text, key, run, given = {}) {
    return h("button", { type: "button", on: { click: (event) => this.app.press(event, run) }, ...given }, text, key && kbd(key));
  }

  bar(...content) {
    $("mode").replaceChildren(...content);
    $("mode").hidden = false;
  }
}

/** Adding: click, the service grows a seed, what it found is shown, Enter takes it. */
export class Adding extends Mode {
  constructor(app) {
    super(app, "add");
    this.kind = "t2";
    this.viewer.addEventListener("seed", (event) => this.#grow(event.detail.voxel));
  }

  start() {
    this.preview = null;
    this.status = this.#usual();
    this.begin();
    announce(`Adding a ${KIND_NAMES[this.kind]}. Click on it, or press Enter at the cross-hair.`);
  }

  #usual() {
    const wanted = STATUS_KEYS[this.kind][0];
    return this.app.allowed(wanted) ? wanted : null;
  }

  setKind(kind) {
    if (kind === this.kind) return;
    this.kind = kind;
    this.status = this.#usual();
    const at = this.preview?.at;
    this.#drop();
    if (at) this.#grow(at);
  }

  setStatus(n) {
    const entry = STATUS_KEYS[this.kind][n];
    if (!entry || !this.app.allowed(entry)) return;
    this.status = this.status?.[1] === entry[1] ? null : entry;
    this.show();
  }

  #drop() {
    this.preview = null;
    this.viewer.draft = null;
    this.viewer.draw();
    this.show();
  }

  async #grow(voxel) {
    this.#drop();
    const asked = (this.asked = Symbol("seed"));
    this.waiting = true;
    this.show();
    try {
      const found = await this.app.reading.grow(this.kind, voxel);
      if (this.asked !== asked || this.viewer.tool !== "add") return;
      this.preview = { ...found, at: voxel };
      this.viewer.draft = { mask: fromRuns(found.voxels, this.viewer.grid.shape) };
      announce(`${number(found.volume_mm3)} cubic millimetres${found.is_focus ? "" : `, no focus: ${found.why_not}`}`);
    } catch (error) {
      if (this.asked === asked) this.app.notice("problem", `Nothing was grown here. ${error.message}`);
    } finally {
      if (this.asked === asked) {
        this.waiting = false;
        if (this.viewer.tool === "add") {
          this.viewer.draw();
          this.show();
        }
      }
    }
  }

  enter() {
    if (this.waiting) return;
    if (!this.preview) return this.#grow([...this.viewer.view.cross]);
    if (this.preview.preview_id) this.#take();
  }

  async #take() {
    const { preview, kind, status } = this;
    const body = { act: "add", preview_id: preview.preview_id, kind, t2_status: null, gd_status: null };
    if (status) body[status[0]] = status[1];
    this.waiting = true;
    this.show();
    const answer = await this.app.reading.act(body, `Add a ${KIND_NAMES[kind]}`);
    this.waiting = false;
    if (!answer) return this.show(); // the preview stays: Enter tries again
    await this.app.segmentationShown();
    this.preview = null;
    this.viewer.draft = null;
    const added = answer.added.at(-1);
    if (added) this.app.select(added.finding_id, { go: false });
    announce(added ? `${nameOf(added)} added` : "Added");
    this.show();
    this.viewer.draw();
  }

  escape() {
    this.asked = null;
    this.waiting = false;
    if (this.preview) this.#drop();
    else this.leave();
  }

  show() {
    if (this.viewer.tool !== "add") return;
    const { preview } = this;
    const text = this.waiting
      ? "Growing\u2026"
      : preview
        ? preview.preview_id
          ? `${number(preview.volume_mm3)} mm\u00b3, ${number(preview.max_diameter_mm, 1)} mm`
          : ""
        : "Click on the lesion";
    const kinds = Object.keys(KINDS).map((kind) =>
      this.button(KINDS[kind], kind === "t2" ? "T" : "L", () => this.setKind(kind), { "aria-pressed": String(kind === this.kind), class: kind }),
    );
    const statuses = STATUS_KEYS[this.kind].map((entry, n) =>
      entry && this.app.allowed(entry)
        ? this.button(STATUSES[entry[1]], String(n + 1), () => this.setStatus(n), { "aria-pressed": String(this.status?.[1] === entry[1]) })
        : null,
    );
    this.bar(
      h("strong", { text: "Add" }),
      h("span", { class: "set", role: "group", "aria-label": "Kind" }, ...kinds),
      h("span", { class: "set", role: "group", "aria-label": "Status" }, ...statuses.filter(Boolean)),
      h("span", { class: "told", text }),
      preview && !preview.is_focus ? h("span", { class: "warn", text: preview.preview_id ? `No focus: ${preview.why_not ?? ""}` : sentence(preview.why_not ?? ""), title: preview.why_not }) : "",
      h(
        "span",
        { class: "set end" },
        preview?.preview_id ? this.button("Take", "Enter", () => this.enter(), { class: "primary", disabled: this.waiting }) : "",
        this.button(preview ? "Drop" : "Done", "Esc", () => this.escape()),
      ),
    );
  }
}

/** Editing: the mask of a finding under a brush. */
export class Editing extends Mode {
  constructor(app) {
    super(app, "edit");
    this.size = 3;
    this.erase = false;
    this.ball = false;
    const { viewer } = this;
    viewer.addEventListener("stroke", ({ detail }) => {
      if (!this.draft) return;
      if (detail.begin) this.draft.begin();
      const options = { radius: RADII[this.size], erase: detail.erase || this.erase, ball: this.ball };
      this.draft.paint(viewer.plane, detail.column, detail.row, viewer.view.cross, options);
      viewer.draw();
    });
    viewer.addEventListener("strokeend", () => {
      this.draft?.end();
      this.show();
    });
  }

  start(finding) {
    this.finding = finding;
    this.erase = false;
    this.draft = new MaskDraft(this.viewer.segmentation.mask(finding), this.viewer.grid);
    this.viewer.draft = this.draft;
    this.#brush();
    this.begin();
    this.app.list.show();
    announce(`Editing ${nameOf(finding)}`);
  }

  #brush() {
    this.viewer.brushRadius = RADII[this.size];
    this.viewer.erasing = this.erase;
    const { brush } = this.viewer.view;
    if (brush) Object.assign(brush, { radius: RADII[this.size], erase: this.erase });
    this.viewer.draw();
    this.show();
  }

  resize(step) {
    this.size = Math.min(RADII.length - 1, Math.max(0, this.size + step));
    this.#brush();
  }

  toggleErase() {
    this.erase = !this.erase;
    this.#brush();
  }

  toggleBall() {
    this.ball = !this.ball;
    this.#brush();
  }

  undo() {
    if (this.draft.undo()) this.viewer.draw();
    this.show();
  }

  get dirty() {
    return this.viewer.tool === "edit" && this.draft.changed;
  }

  async enter() {
    const { draft, finding, viewer } = this;
    if (this.waiting) return;
    if (!draft.changed) return this.escape();
    if (!draft.voxels) return this.app.notice("problem", "The outline is empty. Reject the finding instead.");
    const runs = toRuns(draft.mask, viewer.grid.shape);
    this.waiting = true;
    this.show();
    const body = { act: "edit", finding_id: finding.finding_id, voxels: runs };
    const answer = await this.app.reading.act(body, `Edit ${nameOf(finding)}`);
    this.waiting = false;
    if (!answer) return this.show(); // the draft stays: Enter tries again
    viewer.segmentation.put(finding, draft.mask);
    viewer.segmentationKey++;
    announce(`${nameOf(finding)} edited`);
    this.leave();
  }

  escape() {
    if (this.draft.changed && !this.sure) {
      this.sure = true;
      this.show();
      return;
    }
    this.leave();
  }

  leave() {
    this.sure = false;
    super.leave();
  }

  show() {
    if (this.viewer.tool !== "edit") return;
    const volume = this.draft.voxels * this.viewer.grid.spacing.reduce((a, b) => a * b, 1);
    const pressed = (is) => ({ "aria-pressed": String(is) });
    this.bar(
      h("strong", { text: `Edit ${nameOf(this.finding)}` }),
      h(
        "span",
        { class: "set", role: "group", "aria-label": "Brush" },
        this.button("\u2212", "[", () => this.resize(-1), { "aria-label": "Smaller brush" }),
        h("span", { class: "told size", text: `${RADII[this.size] * 2} mm` }),
        this.button("+", "]", () => this.resize(1), { "aria-label": "Larger brush" }),
        this.button("Erase", "X", () => this.toggleErase(), pressed(this.erase)),
        this.button("Ball", "S", () => this.toggleBall(), pressed(this.ball)),
        this.button("Stroke back", "Z", () => this.undo(), { disabled: !this.draft.changed }),
      ),
      h("span", { class: "told", text: `${number(volume)} mm\u00b3` }),
      this.sure ? h("span", { class: "warn", text: "Esc once more drops the changes." }) : "",
      h(
        "span",
        { class: "set end" },
        this.button("Keep", "Enter", () => this.enter(), { class: "primary", disabled: Boolean(this.waiting) }),
        this.button("Leave", "Esc", () => this.escape()),
      ),
    );
  }
}
