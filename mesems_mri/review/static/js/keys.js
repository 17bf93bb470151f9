/** Every key of the reading page, with what it does: the page obeys this table and the help shows it. */

/** `when`: the mode it works in ("add", "edit"; none: reading); `writes`: not in a signed reading. */
export const KEYS = [
  { group: "Findings", keys: ["j", "arrowdown"], show: "J \u2193", text: "Next finding", run: (app) => app.step(1) },
  { group: "Findings", keys: ["k", "arrowup"], show: "K \u2191", text: "Previous finding", run: (app) => app.step(-1) },
  { group: "Findings", keys: [" "], show: "Space", text: "Next undecided finding", run: (app) => app.nextUndecided() },
  { group: "Decide", keys: ["a"], show: "A", text: "Accept", writes: true, run: (app) => app.decide("accepted") },
  { group: "Decide", keys: ["r"], show: "R", text: "Reject", writes: true, run: (app) => app.decide("rejected") },
  { group: "Decide", keys: ["u"], show: "U", text: "Unsure", writes: true, run: (app) => app.decide("unsure") },
  { group: "Decide", keys: ["1"], show: "1", text: "New", writes: true, run: (app) => app.setStatus(0) },
  { group: "Decide", keys: ["2"], show: "2", text: "Enlarging (T2)", writes: true, run: (app) => app.setStatus(1) },
  { group: "Decide", keys: ["3"], show: "3", text: "Enhancing (GEL)", writes: true, run: (app) => app.setStatus(2) },
  {
    group: "Decide",
    keys: ["4"],
    show: "4",
    text: "Persistent (GEL), stable (T2)",
    writes: true,
    run: (app) => app.setStatus(3),
  },
  { group: "Decide", keys: ["c"], show: "C", text: "Comment", writes: true, run: (app) => app.commentDialog() },
  { group: "Decide", keys: ["z"], show: "Z", text: "Undo", writes: true, run: (app) => app.undo() },
  { group: "Decide", keys: ["shift+a"], show: "Shift A", text: "Take read A (adjudication)", writes: true, run: (app) => app.takeRead("A") },
  { group: "Decide", keys: ["shift+b"], show: "Shift B", text: "Take read B (adjudication)", writes: true, run: (app) => app.takeRead("B") },
  { group: "Change", keys: ["n"], show: "N", text: "Add a finding", writes: true, run: (app) => app.startAdding() },
  { group: "Change", keys: ["e"], show: "E", text: "Edit the outline with a brush", writes: true, run: (app) => app.startEditing() },
  { group: "Change", keys: ["s"], show: "S", text: "Split", writes: true, run: (app) => app.split() },
  { group: "Change", keys: ["x"], show: "X", text: "Mark for merging", writes: true, run: (app) => app.mark() },
  { group: "Change", keys: ["m"], show: "M", text: "Merge the marked findings with this one", writes: true, run: (app) => app.merge() },
  { group: "Visit", keys: ["q"], show: "Q", text: "Not evaluable", writes: true, run: (app) => app.evaluableDialog() },
  { group: "Visit", keys: ["ctrl+enter"], show: "Ctrl Enter", text: "Sign off", writes: true, run: (app) => app.signDialog() },
  { group: "View", keys: ["o"], show: "O", text: "Outlines on or off", any: true, run: (app) => app.toggleOutlines() },
  { group: "View", keys: ["shift+o"], show: "Shift O", text: "Outline of the selected finding alone", any: true, run: (app) => app.toggleOutlines("selected") },
  { group: "View", keys: ["d"], show: "D", text: "Difference image in place of the prior", any: true, run: (app) => app.toggle("difference") },
  { group: "View", keys: ["f"], show: "F (hold)", text: "Flicker: swap current and prior", any: true, run: (app) => app.viewer.set("swapped", true), up: (app) => app.viewer.set("swapped", false) },
  { group: "View", keys: ["v"], show: "V", text: "Axial, coronal, sagittal", any: true, run: (app) => app.viewer.nextPlane() },
  { group: "View", keys: ["b"], show: "B", text: "One contrast large (also double click)", any: true, run: (app) => app.toggleAlone() },
  { group: "View", keys: ["h"], show: "H", text: "Cross-hair on or off", any: true, run: (app) => app.toggleCrosshair() },
  { group: "View", keys: ["g"], show: "G", text: "Go to the selected finding", any: true, run: (app) => app.goToSelected() },
  { group: "View", keys: ["arrowleft", "pagedown"], show: "\u2190 Page down", text: "Previous slice", any: true, run: (app) => app.viewer.scroll(-1) },
  { group: "View", keys: ["arrowright", "pageup"], show: "\u2192 Page up", text: "Next slice", any: true, run: (app) => app.viewer.scroll(1) },
  { group: "View", keys: ["+", "="], show: "+", text: "Zoom in", run: (app) => app.viewer.zoom(1.25) },
  { group: "View", keys: ["-"], show: "\u2212", text: "Zoom out", run: (app) => app.viewer.zoom(0.8) },
  { group: "View", keys: ["0"], show: "0", text: "Reset zoom and windows", any: true, run: (app) => app.viewer.reset() },
  { group: "View", keys: ["?"], show: "?", text: "This help", any: true, run: (app) => app.help() },
  { group: "While adding", when: "add", keys: ["enter"], show: "Enter", text: "Grow at the cross-hair; then take what is shown", run: (app) => app.adding.enter() },
  { group: "While adding", when: "add", keys: ["escape"], show: "Esc", text: "Drop what is shown; then leave", run: (app) => app.adding.escape() },
  { group: "While adding", when: "add", keys: ["t"], show: "T", text: "T2 lesion", run: (app) => app.adding.setKind("t2") },
  { group: "While adding", when: "add", keys: ["l"], show: "L", text: "Gadolinium-enhancing lesion", run: (app) => app.adding.setKind("gel") },
  ...[0, 1, 2, 3].map((n) => ({ group: "While adding", when: "add", keys: [String(n + 1)], show: n ? null : "1 \u2026 4", text: "Status", run: (app) => app.adding.setStatus(n) })),
  { group: "While editing", when: "edit", keys: ["[", ",", "-"], show: "[", text: "Smaller brush", run: (app) => app.editing.resize(-1) },
  { group: "While editing", when: "edit", keys: ["]", ".", "+", "="], show: "]", text: "Larger brush", run: (app) => app.editing.resize(1) },
  { group: "While editing", when: "edit", keys: ["x"], show: "X, Alt (hold)", text: "Erase", run: (app) => app.editing.toggleErase() },
  { group: "While editing", when: "edit", keys: ["s"], show: "S", text: "Ball or disc", run: (app) => app.editing.toggleBall() },
  { group: "While editing", when: "edit", keys: ["z"], show: "Z", text: "Take the last stroke back", run: (app) => app.editing.undo() },
  { group: "While editing", when: "edit", keys: ["enter"], show: "Enter", text: "Keep the outline", run: (app) => app.editing.enter() },
  { group: "While editing", when: "edit", keys: ["escape"], show: "Esc", text: "Leave it as it was", run: (app) => app.editing.escape() },
];

export const MOUSE = [
  ["Click, drag", "Move the cross-hair; a click in an outline selects the finding"],
  ["Wheel", "Scroll through slices"],
  ["Right drag", "Window: width sideways, level up and down"],
  ["Ctrl wheel, pinch", "Zoom"],
  ["Shift drag", "Move the zoomed image (also with the middle button)"],
  ["Double click", "One contrast large"],
];

const OFF = "single-keys-off";

/** Whether keys without Ctrl work; off for who speaks to the computer. */
export const single = {
  get on() {
    return localStorage.getItem(OFF) !== "1";
  },
  set on(value) {
    if (value) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  },
};

function nameOf(event) {
  let key = event.key.toLowerCase();
  // other alphabets, and digits that need Shift: the place on the keyboard counts
  if (/^Key[A-Z]$/.test(event.code) && !/^[a-z]$/.test(key)) key = event.code.slice(3).toLowerCase();
  if (/^Digit[0-9]$/.test(event.code) && !/^[0-9]$/.test(key) && !event.shiftKey) key = event.code.slice(5);
  const letter = /^[a-z]$/.test(key);
  return `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.shiftKey && letter ? "shift+" : ""}${key}`;
}

const typing = (element) => element?.matches?.("input:not([type=checkbox], [type=radio]), textarea, select");

/** Obey the keys. */
export function listen(app) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]") || typing(event.target)) return;
    const graph = event.getModifierState("AltGraph");
    if (event.altKey && !graph) return;
    const name = graph ? event.key.toLowerCase() : nameOf(event);
    // keys that work a control that has the focus
    const onControl = event.target.closest?.("button, a, summary, input");
    if (onControl && [" ", "enter"].includes(name)) return;
    const mode = app.viewer.tool;
    const entry = KEYS.find((k) => k.keys.includes(name) && (k.when ? k.when === mode : !mode || k.any));
    if (!entry || (!single.on && name.length === 1 && name !== "?")) return;
    event.preventDefault();
    if (entry.writes && app.reading.readOnly) return app.tellReadOnly();
    if (event.repeat && (entry.writes || entry.up)) return;
    app.keyed = event.timeStamp;
    entry.run(app);
  });
  document.addEventListener("keyup", (event) => {
    const entry = KEYS.find((k) => k.up && k.keys.includes(event.key.toLowerCase()));
    entry?.up(app);
  });
}
