/** List of the findings, and the selected one in detail. */

import { $, h, kbd } from "./dom.js";
import { DECISIONS, KIND_NAMES, nameOf, number, ORIGINS, regionOf, regionShort, STATUSES, STATUS_KEYS, statusOf } from "./words.js";

const SIGNS = { accepted: "\u2713", rejected: "\u2715", unsure: "?", undecided: "\u2013" };
const STATUS_NAMES = ["t2_status", "gd_status"];

/** Whether two reads of an adjudicated finding differ. */
export function differ({ reads }) {
  if (!reads) return false;
  const [a, b] = ["A", "B"].map((reader) => reads.find((read) => read.reader === reader));
  if (!a || !b || a.decision !== b.decision) return true;
  return a.decision === "accepted" && STATUS_NAMES.some((name) => (a[name] ?? null) !== (b[name] ?? null));
}

const FILTERS = {
  all: ["All", () => true],
  undecided: ["To decide", (f, reading) => reading.isOpen(f)],
  differ: ["Reads differ", differ],
  counted: ["Counted", (f) => f.origin === "counted"],
  offered: ["Offered", (f) => f.origin === "offered"],
  reader: ["Added", (f) => f.origin === "reader"],
  accepted: ["Accepted", (f) => f.decision === "accepted"],
};

export class FindingList {
  constructor(app) {
    this.app = app;
    this.host = $("list");
    this.filter = "all";
    this.kept = new Set(); // decided while the filter would hide it
    this.rows = new Map();
    $("filter").addEventListener("change", (event) => {
      this.filter = event.target.value;
      this.kept.clear();
      this.show();
      event.target.blur();
    });
    this.host.addEventListener("click", (event) => {
      const row = event.target.closest("[data-finding]");
      if (!row) return;
      if (event.ctrlKey || event.metaKey) app.mark(row.dataset.finding);
      else app.select(row.dataset.finding);
    });
  }

  setFilters(stage) {
    const names = Object.keys(FILTERS).filter((name) => name !== "differ" || stage === "adjudication");
    $("filter").replaceChildren(...names.map((name) => h("option", { value: name, text: FILTERS[name][0] })));
    if (stage === "adjudication" && this.app.reading.findings.some(differ)) this.filter = "differ";
    $("filter").value = this.filter;
  }

  /** Findings in the order of the list. */
  get order() {
    const origins = Object.keys(ORIGINS);
    return [...this.app.reading.findings].sort((a, b) => origins.indexOf(a.origin) - origins.indexOf(b.origin));
  }

  get visible() {
    const fits = FILTERS[this.filter][1];
    const { selected } = this.app;
    return this.order.filter((f) => fits(f, this.app.reading) || this.kept.has(f.finding_id) || f.finding_id === selected);
  }

  /** Show the present state with the next frame. */
  show() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.#render();
    });
  }

  #render() {
    const { app } = this;
    if (!app.reading.task) return;
    const { findings, task } = app.reading;
    const adjudication = task.stage === "adjudication";
    const visible = this.visible;
    for (const finding of visible) if (finding.finding_id === app.selected) this.kept.add(finding.finding_id);
    const needed = findings.filter((f) => app.reading.isNeeded(f));
    const open = needed.filter((f) => app.reading.isOpen(f));
    $("progress").textContent = needed.length ? `${needed.length - open.length} of ${needed.length} decided` : "";
    const children = [];
    let origin = null;
    for (const finding of visible) {
      if (finding.origin !== origin) {
        ({ origin } = finding);
        const n = visible.filter((f) => f.origin === origin).length;
        children.push(h("div", { class: "group", role: "presentation", text: `${ORIGINS[origin] ?? origin} (${n})` }));
      }
      children.push(this.#row(finding, adjudication));
    }
    if (!visible.length) {
      const text = findings.length ? "None with this filter." : "No findings yet. Press N to add one.";
      children.push(h("p", { class: "empty", role: "presentation", text }));
    }
    const top = this.host.scrollTop;
    this.host.replaceChildren(...children);
    this.host.scrollTop = top;
    const row = this.host.querySelector("[aria-selected=true]");
    if (row) this.host.setAttribute("aria-activedescendant", row.id);
    else this.host.removeAttribute("aria-activedescendant");
    if (row) this.#inSight(row);
    this.#detail();
  }

  /** Scroll the row into sight; `scrollIntoView` would also move where the Tab key goes on. */
  #inSight(row) {
    const [box, seen] = [row.getBoundingClientRect(), this.host.getBoundingClientRect()];
    if (box.top < seen.top + 24) this.host.scrollTop -= seen.top + 24 - box.top;
    else if (box.bottom > seen.bottom) this.host.scrollTop += box.bottom - seen.bottom;
  }

  #row(finding, adjudication) {
    const { app } = this;
    const id = finding.finding_id;
    const selected = id === app.selected;
    const marked = app.viewer.marked.has(id);
    const reads = adjudication
      ? ["A", "B"].map((reader) => {
          const read = finding.reads?.find((one) => one.reader === reader);
          const decision = read?.decision ?? "undecided";
          const text = read ? (SIGNS[decision] ?? "\u2013") : "\u2013";
          return h("span", { class: `read ${decision}`, title: `Read ${reader}: ${read ? DECISIONS[decision] : "not marked"}` }, h("small", { text: reader }), text);
        })
      : [];
    const said = [
      nameOf(finding),
      regionOf(finding),
      `${number(finding.volume_mm3)} cubic millimetres`,
      statusOf(finding),
      DECISIONS[finding.decision],
      marked && "marked",
      app.reading.isOpen(finding) && "to decide",
      adjudication && differ(finding) && "reads differ",
    ];
    return h(
      "div",
      {
        id: `finding-${id}`,
        class: `finding ${finding.decision} ${finding.kind}${marked ? " marked" : ""}${adjudication && differ(finding) ? " differs" : ""}`,
        role: "option",
        "aria-selected": String(selected),
        "aria-label": said.filter(Boolean).join(", "),
        data: { finding: id },
      },
      h("span", { class: `kind ${finding.kind}`, text: nameOf(finding) }),
      h("span", { class: "where", text: regionShort(finding), title: regionOf(finding) }),
      h("span", { class: "size", text: `${number(finding.volume_mm3)} mm\u00b3` }),
      ...(adjudication ? [h("span", { class: "reads" }, ...reads)] : [h("span", { class: "status", text: statusOf(finding) })]),
      h("span", { class: `decision ${finding.decision}${app.reading.isOpen(finding) ? " open" : ""}`, text: SIGNS[finding.decision] ?? "" }),
    );
  }

  #detail() {
    const { app } = this;
    const finding = app.finding;
    const host = $("detail");
    if (!finding) {
      host.replaceChildren(h("p", { class: "empty", text: "No finding is selected." }));
      return;
    }
    const off = app.reading.readOnly || app.viewer.tool === "edit";
    const facts = [
      `${number(finding.volume_mm3)} mm\u00b3`,
      `${number(finding.max_diameter_mm, 1)} mm across`,
      finding.score !== null && finding.score !== undefined && `score ${number(finding.score, 2)}`,
      finding.edited && "edited",
    ].filter(Boolean);
    const comment = app.reading.task.comments.find((one) => one.code === finding.comment);
    const button = (key, text, run, given = {}) =>
      h("button", { type: "button", disabled: off, on: { click: (event) => app.press(event, run) }, ...given }, text, kbd(key));
    const pressed = (is) => ({ "aria-pressed": String(is) });
    const statuses = STATUS_KEYS[finding.kind].map((entry, n) => {
      if (!entry || !app.allowed(entry)) return h("span"); // the others keep their place
      const [name, value] = entry;
      return button(String(n + 1), STATUSES[value], () => app.setStatus(n), { ...pressed(finding[name] === value), class: "status" });
    });
    host.replaceChildren(
      h(
        "h3",
        {},
        h("span", { class: `kind ${finding.kind}`, text: nameOf(finding) }),
        h("span", { class: "where", text: regionOf(finding), title: KIND_NAMES[finding.kind] }),
        h("span", { class: "at", text: [finding.x, finding.y, finding.z].map((v) => number(v)).join(" "), title: "x y z in mm" }),
      ),
      h("p", { class: "facts", text: facts.join(" \u00b7 ") }),
      finding.gone ? h("p", { class: "facts why", text: "No longer found by the present run" }) : "",
      finding.why_not_counted ? h("p", { class: "facts why", text: `Not counted: ${finding.why_not_counted}` }) : "",
      finding.comment ? h("p", { class: "comment", text: comment?.text ?? finding.comment }) : "",
      this.#reads(finding, off),
      h(
        "div",
        { class: "row three", role: "group", "aria-label": "Decision" },
        button("A", "Accept", () => app.decide("accepted"), { class: "accepted", ...pressed(finding.decision === "accepted") }),
        button("R", "Reject", () => app.decide("rejected"), { class: "rejected", ...pressed(finding.decision === "rejected") }),
        button("U", "Unsure", () => app.decide("unsure"), { class: "unsure", ...pressed(finding.decision === "unsure") }),
      ),
      h("div", { class: "row statuses", role: "group", "aria-label": "Status" }, ...statuses),
      h(
        "div",
        { class: "row small", role: "group", "aria-label": "Change" },
        button("E", "Edit", () => app.startEditing()),
        button("S", "Split", () => app.split()),
        button("X", "Mark", () => app.mark(), pressed(app.viewer.marked.has(finding.finding_id))),
        button("M", "Merge", () => app.merge(), { disabled: off || !app.mergeable.length }),
        button("C", "Comment", () => app.commentDialog()),
      ),
    );
  }

  #reads(finding, off) {
    const { app } = this;
    if (app.reading.task.stage !== "adjudication") return "";
    const comments = app.reading.task.comments;
    const cards = ["A", "B"].map((reader) => {
      const read = finding.reads?.find((one) => one.reader === reader);
      const comment = read?.comment && (comments.find((one) => one.code === read.comment)?.text ?? read.comment);
      return h(
        "div",
        { class: `read-card ${read?.decision ?? ""}` },
        h("h4", { text: `Read ${reader}` }),
        h("p", { class: "what", text: read ? [`${SIGNS[read.decision] ?? ""} ${DECISIONS[read.decision] ?? read.decision}`, statusOf(read)].filter(Boolean).join(", ") : "Not marked" }),
        comment ? h("p", { class: "comment", text: comment }) : "",
        h("button", { type: "button", disabled: off, on: { click: (event) => app.press(event, () => app.takeRead(reader)) } }, `Take ${reader}`, kbd(`\u21e7${reader}`)),
      );
    });
    return h("div", { class: `reads-side${differ(finding) ? " differs" : ""}` }, ...cards);
  }
}

