/** The reading page. */

import { ApiError, session, sinceContact } from "./api.js";
import { $, announce, h, kbd } from "./dom.js";
import * as dialogs from "./dialogs.js";
import { listen } from "./keys.js";
import { FindingList } from "./list.js";
import { Adding, Editing } from "./modes.js";
import { PLANES } from "./orientation.js";
import { Reading } from "./reading.js";
import { Segmentation } from "./segmentation.js";
import { short, Viewer } from "./viewer.js";
import { DECISIONS, nameOf, PARTS, STAGES, STATUSES, STATUS_KEYS } from "./words.js";

const PING_MS = 60_000;

class App {
  constructor(taskId) {
    this.reading = new Reading(taskId);
    this.viewer = new Viewer($("panels"));
    this.list = new FindingList(this);
    this.adding = new Adding(this);
    this.editing = new Editing(this);
    this.selected = null;
    this.#tools();
    this.#watch();
  }

  async start() {
    const [who, task] = await Promise.all([session(), this.reading.load()]);
    this.session = who;
    this.reading.reopens = who.mode === "single";
    $("label").textContent = task.label;
    document.title = `${task.label} \u00b7 Reading`;
    this.viewer.open(task.images);
    $("difference").hidden = !this.viewer.hasDifference;
    this.list.setFilters(task.stage);
    const first = this.list.order.find((f) => this.reading.isOpen(f)) ?? this.list.order[0];
    if (first) this.select(first.finding_id);
    this.#refresh();
    listen(this);
    await this.viewer.load(() => {
      performance.measure("first-image", { start: 0 });
      this.#loadSegmentation();
    });
    performance.measure("all-images", { start: 0 });
    document.documentElement.dataset.loaded = "true";
  }

  // state

  get finding() {
    return this.reading.finding(this.selected);
  }

  #refresh() {
    const { reading, viewer } = this;
    viewer.findings = reading.findings;
    for (const id of viewer.marked) if (!reading.finding(id)) viewer.marked.delete(id);
    if (this.selected && !reading.finding(this.selected)) this.selected = null;
    viewer.selected = this.selected;
    document.body.classList.toggle("read-only", reading.readOnly);
    for (const id of ["add", "evaluable", "sign"]) $(id).disabled = reading.readOnly;
    const { signed, task } = reading;
    $("stage").textContent = signed ? "Signed" : (STAGES[task.stage] ?? task.stage);
    $("stage").dataset.stage = signed ? "signed" : task.stage;
    this.#showBusy();
    this.#showParts();
    this.list.show();
    viewer.draw();
    const { sha } = task.segmentation ?? {};
    if (viewer.grid && sha !== this.sha) this.#loadSegmentation();
  }

  #showBusy() {
    const { reading } = this;
    $("undo").disabled = reading.readOnly || !(reading.task.can_undo || reading.busy);
    document.documentElement.dataset.busy = String(reading.busy);
  }

  /** Where the cross-hair is: in mm, and the values of the images there. */
  #showPlace() {
    const here = this.viewer.here();
    if (!here || !$("mode").hidden) return;
    const letters = [["L", "R"], ["P", "A"], ["I", "S"]];
    const place = here.mm.map((v, axis) => `${letters[axis][v < 0 ? 0 : 1]} ${Math.abs(v).toFixed(0)}`).join("  ");
    const contrasts = [...new Set(here.values.map((value) => value.contrast))];
    const values = contrasts.map((contrast) => {
      const of = (visit) => here.values.find((v) => v.contrast === contrast && v.visit === visit);
      const both = ["current", "prior"].map(of).filter(Boolean);
      return h("span", {}, h("b", { text: `${contrast} ` }), both.map(({ value }) => short(value)).join(" / "));
    });
    $("strip").replaceChildren(h("span", {}, h("b", { text: "mm " }), place), ...values);
  }

  #showParts() {
    const closed = Object.entries(this.reading.parts).filter(([, part]) => !part.evaluable);
    const text = (code) => this.reading.task.reasons.find((one) => one.code === code)?.text ?? code;
    const all = closed.length > 0 && closed.length === Object.keys(this.reading.parts).length;
    const same = new Set(closed.map(([, part]) => part.reason)).size === 1;
    const shown = all && same ? [["all", closed[0][1]]] : closed;
    $("parts").replaceChildren(
      ...shown.map(([name, part]) =>
        h("p", { class: "warn", text: `${PARTS[name] ?? name}: not evaluable (${part.text ?? text(part.reason)})` }),
      ),
      ...(this.reading.task.part_reads ?? []).map(({ reader, part, reason }) =>
        h("p", { text: `Read ${reader}: ${PARTS[part] ?? part} not evaluable (${text(reason)})` }),
      ),
    );
  }

  #loadSegmentation() {
    const wanted = this.reading.task.segmentation;
    if (!wanted?.url) return;
    this.sha = wanted.sha;
    this.loading = Segmentation.load(wanted.url)
      .then((found) => {
        if (this.sha === wanted.sha) this.viewer.setSegmentation(found);
      })
      .catch((error) => {
        this.sha = null;
        this.notice("problem", `The outlines could not be loaded. ${error.message}`);
      });
  }

  segmentationShown() {
    return this.loading ?? Promise.resolve();
  }

  select(id, { go = true } = {}) {
    this.selected = id;
    this.viewer.selected = id;
    const { finding } = this;
    this.list.show();
    if (go && finding?.slice) this.viewer.go(finding.slice);
    this.viewer.draw();
    if (finding) announce(`${nameOf(finding)}, ${DECISIONS[finding.decision]}`);
  }

  step(by) {
    const { visible } = this.list;
    const at = visible.findIndex((f) => f.finding_id === this.selected);
    const next = at < 0 ? visible[by > 0 ? 0 : visible.length - 1] : visible[at + by];
    if (next) this.select(next.finding_id);
  }

  nextUndecided() {
    const { order } = this.list;
    const at = order.findIndex((f) => f.finding_id === this.selected);
    const round = [...order.slice(at + 1), ...order.slice(0, at + 1)];
    const next = round.find((f) => this.reading.isOpen(f));
    if (next) this.select(next.finding_id);
    else if (this.finding && this.reading.isOpen(this.finding)) this.notice("done", "This is the last finding to decide.");
    else this.notice("done", "Nothing is left to decide.");
  }

  goToSelected() {
    if (this.finding) this.viewer.go(this.finding.slice);
  }

  // acts

  /** Run what a button stands for; after a mouse click the keys go to the page again. */
  press(event, run) {
    this.keyed = event.timeStamp;
    if (event.detail > 0) event.currentTarget.blur();
    run();
  }

  #felt() {
    const start = this.keyed;
    if (!start) return;
    this.keyed = null;
    requestAnimationFrame(() => {
      const channel = new MessageChannel(); // right after the frame is drawn
      channel.port1.onmessage = () => performance.measure("decision", { start });
      channel.port2.postMessage(null);
    });
  }

  decide(decision) {
    const { finding } = this;
    if (!finding) return;
    const words = `${{ accepted: "Accept", rejected: "Reject", unsure: "Mark as unsure" }[decision]} ${nameOf(finding)}`;
    this.reading.decide(finding, { decision }, words);
    this.#felt();
    announce(`${nameOf(finding)} ${decision}`);
  }

  /** Whether the service knows a status for this visit. */
  allowed([, value]) {
    const { statuses } = this.reading.task;
    return !statuses?.length || statuses.includes(value) || (value === "stable" && statuses.includes("persistent"));
  }

  setStatus(n) {
    const { finding } = this;
    const entry = finding && STATUS_KEYS[finding.kind][n];
    if (!entry || !this.allowed(entry)) return;
    const [name, value] = entry;
    const decision = finding.decision === "unsure" ? "unsure" : "accepted";
    const words = `${nameOf(finding)}: ${STATUSES[value].toLowerCase()}`;
    this.reading.decide(finding, { decision, [name]: value }, words);
    this.#felt();
    announce(words);
  }

  takeRead(reader) {
    const { finding } = this;
    if (!finding || this.reading.task.stage !== "adjudication") return;
    const read = finding.reads?.find((one) => one.reader === reader);
    const change = read
      ? { decision: read.decision, t2_status: read.t2_status ?? null, gd_status: read.gd_status ?? null }
      : { decision: "rejected" };
    this.reading.decide(finding, change, `Take read ${reader} of ${nameOf(finding)}`);
    this.#felt();
    announce(`${nameOf(finding)}: read ${reader} taken`);
  }

  async commentDialog() {
    const { finding } = this;
    if (!finding) return;
    const code = await dialogs.chooseComment(nameOf(finding), this.reading.task.comments, finding.comment);
    if (code !== undefined) this.reading.comment(finding, code, `Comment on ${nameOf(finding)}`);
  }

  async split() {
    const { finding } = this;
    if (!finding) return;
    const answer = await this.reading.act({ act: "split", finding_id: finding.finding_id }, `Split ${nameOf(finding)}`);
    if (!answer) return;
    const names = [nameOf(finding), ...answer.added.map(nameOf)].filter((name, n, all) => all.indexOf(name) === n);
    this.notice("done", `Split into ${names.join(", ")}.`);
    if (!this.finding && answer.added[0]) this.select(answer.added[0].finding_id);
  }

  mark(id = this.selected) {
    if (!id || this.reading.readOnly) return;
    const { marked } = this.viewer;
    const finding = this.reading.finding(id);
    if (marked.has(id)) marked.delete(id);
    else if ([...marked].some((other) => this.reading.finding(other).kind !== finding.kind))
      return this.notice("problem", "T2 lesions and gadolinium-enhancing lesions are not merged with each other.");
    else marked.add(id);
    this.list.show();
    this.viewer.draw();
    announce(`${nameOf(finding)} ${marked.has(id) ? "marked" : "no longer marked"}`);
  }

  /** Findings that a merge would join. */
  get mergeable() {
    const { finding } = this;
    const all = [...new Set([...this.viewer.marked, this.selected])].map((id) => this.reading.finding(id)).filter(Boolean);
    return finding && all.length > 1 && all.every((f) => f.kind === finding.kind) ? all : [];
  }

  async merge() {
    const all = this.mergeable;
    if (!all.length) return this.notice("problem", "Mark findings of one kind with X, then merge them with M.");
    const sorted = [...all].sort((a, b) => a.label - b.label);
    const body = { act: "merge", finding_ids: sorted.map((f) => f.finding_id) };
    const answer = await this.reading.act(body, `Merge ${sorted.map(nameOf).join(", ")}`);
    if (!answer) return;
    this.viewer.marked.clear();
    const kept = sorted.find((f) => this.reading.finding(f.finding_id)) ?? answer.added[0];
    if (kept) this.select(kept.finding_id);
    this.notice("done", `Merged ${sorted.map(nameOf).join(", ")}.`);
  }

  async undo() {
    if (!this.reading.task.can_undo && !this.reading.busy) return this.notice("done", "There is nothing to undo.");
    if (await this.reading.undo()) announce("Undone");
  }

  startAdding() {
    if (this.viewer.grid) this.adding.start();
  }

  startEditing() {
    const { finding, viewer } = this;
    if (!finding || !viewer.segmentationKey) return;
    if (viewer.tool) return;
    const labels = viewer.segmentation.at(viewer.view.cross);
    if (labels[finding.kind] !== finding.label) viewer.go(finding.slice);
    this.editing.start(finding);
  }

  evaluableDialog() {
    dialogs.notEvaluable(this.reading.parts, this.reading.task.reasons, (part, reason) => {
      this.reading.notEvaluable(part, reason, `${PARTS[part]}: ${reason ? "not evaluable" : "evaluable"}`);
      announce(`${PARTS[part]}: ${reason ? "not evaluable" : "evaluable"}`);
    });
  }

  async signDialog() {
    await this.reading.settled();
    if (this.reading.readOnly) return this.tellReadOnly();
    dialogs.signOff({
      reading: this.reading,
      centre: this.session.mode === "centre",
      name: this.session.mode === "centre" ? this.session.name : null,
      onSign: (password, meaning) => this.#sign(password, meaning),
      onFirst: () => this.nextUndecided(),
    });
  }

  /** Sign; answers what the service said against it, or null. */
  async #sign(password, meaning) {
    const body = { act: "sign", meaning, ...(password === undefined ? {} : { password }) };
    let refused = null;
    const onFail = (event) => (refused = event.detail.error.message);
    this.signing = true;
    this.reading.addEventListener("failed", onFail);
    this.reading.addEventListener("stale", onFail);
    await this.reading.act(body, "Sign off");
    this.signing = false;
    this.reading.removeEventListener("failed", onFail);
    this.reading.removeEventListener("stale", onFail);
    if (refused) return refused;
    await this.#afterSigning();
    return null;
  }

  async #afterSigning() {
    const { label, stage } = this.reading.task;
    const task = await this.reading.load().catch(() => this.reading.task);
    if (task.state !== "signed" && task.stage !== stage) return location.reload(); // the read with candidates begins
    this.#refresh();
    dialogs.signed(label, task.next_task_id);
  }

  // view

  toggle(name) {
    if (name === "difference" && !this.viewer.hasDifference) return this.notice("done", "There is no difference image.");
    this.viewer.set(name, !this.viewer[name]);
  }

  toggleCrosshair() {
    this.viewer.set("crosshair", !this.viewer.view.crosshair);
  }

  toggleOutlines(one = null) {
    const { outlines } = this.viewer;
    this.viewer.set("outlines", one ? (outlines === one ? "all" : one) : outlines === "none" ? "all" : "none");
  }

  toggleAlone() {
    const { viewer } = this;
    viewer.set("only", viewer.only ? null : (this.finding?.kind === "gel" && viewer.contrasts.includes("ce-T1w") ? "ce-T1w" : viewer.contrasts[0]));
  }

  help() {
    dialogs.help();
  }

  // messages

  /** @param {"done"|"problem"} kind @param {...Node} actions */
  notice(kind, text, ...actions) {
    const host = $("notice");
    clearTimeout(this.noticeTimer);
    const close = h("button", { type: "button", class: "close", "aria-label": "Close the message", text: "\u2715", on: { click: () => (host.hidden = true) } });
    host.className = kind;
    host.replaceChildren(h("span", { text }), ...actions, close);
    host.hidden = false;
    if (kind === "done") this.noticeTimer = setTimeout(() => (host.hidden = true), 5000);
  }

  tellReadOnly() {
    this.notice("done", "This reading is signed. It can no longer be changed.");
  }

  #stale({ error, items }) {
    if (this.signing) return;
    const redo = items.filter((item) => !["undo", "add", "edit", "sign"].includes(item.body.act));
    const kept = items.find((item) => ["add", "edit"].includes(item.body.act));
    const what = items.map((item) => item.words).join("; ");
    const why =
      error.status === 409
        ? `${error.message} ${this.reading.readOnly ? "" : "The present state is shown now."}`
        : `${error.message} The last state that was stored is shown.`;
    const again =
      redo.length && !this.reading.readOnly
        ? [
            h("button", {
              type: "button",
              text: redo.length > 1 ? `Do them again (${redo.length})` : "Do it again",
              on: {
                click: () => {
                  $("notice").hidden = true;
                  const gone = this.reading.again(redo);
                  if (gone.length) this.notice("problem", `No longer possible: ${gone.join("; ")}`);
                },
              },
            }),
          ]
        : [];
    const stays = kept && this.viewer.tool ? " What you have drawn is still here: press Enter to keep it." : "";
    this.notice("problem", `${why} Not stored: ${what}.${stays}`, ...again);
  }

  #watch() {
    const { reading, viewer } = this;
    reading.addEventListener("change", () => this.#refresh());
    reading.addEventListener("busy", () => this.#showBusy());
    reading.addEventListener("failed", ({ detail }) => {
      if (!this.signing) this.notice("problem", `${detail.words}: ${detail.error.message}`);
    });
    reading.addEventListener("stale", ({ detail }) => this.#stale(detail));
    reading.addEventListener("signin", (event) => {
      event.preventDefault();
      this.#signIn().then(event.detail.answer);
    });
    viewer.addEventListener("pick", ({ detail }) => {
      const labels = viewer.segmentation?.at(detail.voxel) ?? {};
      const found = ["gel", "t2"]
        .map((kind) => labels[kind] && reading.findings.find((f) => f.kind === kind && f.label === labels[kind]))
        .filter(Boolean);
      // a second click takes the other of two that overlap
      const at = found.findIndex((f) => f.finding_id === this.selected);
      const next = found[(at + 1) % found.length];
      if (next && viewer.outlines !== "none") this.select(next.finding_id, { go: false });
    });
    viewer.addEventListener("mode", () => this.#showTools());
    viewer.addEventListener("drawn", () => this.#showPlace());
    window.addEventListener("beforeunload", (event) => {
      if (reading.busy || this.editing.dirty || this.adding.preview?.preview_id) event.preventDefault();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible" && reading.task && !reading.busy && !viewer.tool) reading.load().catch(() => {});
    });
    for (const type of ["pointerdown", "keydown", "wheel"])
      document.addEventListener(type, () => this.#stay(), { passive: true, capture: true });
    setInterval(() => this.#warnOfTimeout(), 15_000);
  }

  async #signIn() {
    this.asking ??= dialogs.signInAgain(this.session?.name).finally(() => (this.asking = null));
    return this.asking;
  }

  /** Whoever only looks at images is at work, too. */
  #stay() {
    if (this.session?.mode !== "centre" || sinceContact() < PING_MS || this.pinging) return;
    this.pinging = session()
      .then((who) => (who.signed_in ? null : this.#signIn()))
      .catch(() => null)
      .finally(() => (this.pinging = null));
  }

  #warnOfTimeout() {
    const minutes = this.session?.idle_minutes;
    if (this.session?.mode !== "centre" || !minutes) return;
    const left = minutes * 60_000 - sinceContact();
    if (left <= 0) this.#signIn();
    else if (left < 90_000) this.notice("problem", "You will soon be signed out. Press a key to stay.");
  }

  // tools

  #tools() {
    const tool = (id, text, key, run, given = {}) =>
      h("button", { type: "button", id, title: key ? `${given.title ?? text} (${key})` : text, on: { click: (event) => this.press(event, run) }, ...given }, h("span", { text }), key && kbd(key));
    const planes = PLANES.map((name) =>
      h("button", {
        type: "button",
        id: `plane-${name}`,
        title: `${name} (V)`,
        text: `${name[0].toUpperCase()}${name.slice(1, 3)}`,
        "aria-label": name,
        on: { click: (event) => this.press(event, () => this.viewer.setPlane(name)) },
      }),
    );
    $("view-tools").append(
      h("span", { class: "joined", role: "group", "aria-label": "Plane" }, ...planes),
      tool("outlines", "Outlines", "O", () => this.toggleOutlines()),
      tool("difference", "Difference", "D", () => this.toggle("difference"), { hidden: true }),
      tool("crosshair", "Cross-hair", "H", () => this.toggleCrosshair()),
      tool("reset", "Reset", "0", () => this.viewer.reset()),
    );
    $("reading-tools").append(
      tool("undo", "Undo", "Z", () => this.undo()),
      tool("add", "Add", "N", () => this.startAdding()),
      tool("evaluable", "Not evaluable", "Q", () => this.evaluableDialog()),
      tool("sign", "Sign off", null, () => this.signDialog(), { class: "primary", title: "Sign off (Ctrl Enter)" }),
      tool("help", "?", null, () => this.help(), { "aria-label": "Keys and mouse", title: "Keys and mouse (?)" }),
    );
    this.#showTools();
  }

  #showTools() {
    const { viewer } = this;
    const press = (id, is) => $(id).setAttribute("aria-pressed", String(is));
    for (const name of PLANES) press(`plane-${name}`, viewer.planeName === name);
    press("outlines", viewer.outlines !== "none");
    press("difference", viewer.difference);
    press("crosshair", viewer.view.crosshair);
    press("add", viewer.tool === "add");
  }
}

const taskId = decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-1));
const app = new App(taskId);
app.start().catch((error) => {
  if (error instanceof ApiError && error.status === 401) {
    location.replace(`/?next=${encodeURIComponent(location.pathname)}`);
    return;
  }
  app.notice("problem", error.message, h("a", { href: "/", text: "Reading list" }));
  if (!(error instanceof ApiError)) throw error;
});
