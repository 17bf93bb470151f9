/** Dialogs: each is made when it is asked for and gone when it is closed. */

import { login, session } from "./api.js";
import { h, kbd } from "./dom.js";
import { KEYS, MOUSE, single } from "./keys.js";
import { MEANINGS, PARTS, STATUSES } from "./words.js";

function open(title, className, ...content) {
  const heading = h("h2", { id: "dialog-title", text: title });
  const dialog = h("dialog", { class: className, "aria-labelledby": "dialog-title" }, heading, ...content);
  const before = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before?.isConnected) before.focus?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const cancel = (dialog, text = "Cancel") => h("button", { type: "button", text, on: { click: () => dialog().close() } });

/** Help: every key and what the mouse does. */
export function help() {
  const groups = [...new Set(KEYS.map((key) => key.group))];
  const keys = groups.map((group) =>
    h(
      "section",
      {},
      h("h3", { text: group }),
      h(
        "dl",
        {},
        ...KEYS.filter((key) => key.group === group && key.show).flatMap((key) => [h("dt", {}, kbd(key.show)), h("dd", { text: key.text })]),
      ),
    ),
  );
  const mouse = h(
    "section",
    {},
    h("h3", { text: "Mouse" }),
    h("dl", {}, ...MOUSE.flatMap(([what, text]) => [h("dt", {}, kbd(what)), h("dd", { text })])),
  );
  const box = h("input", { type: "checkbox", checked: single.on, on: { change: (event) => (single.on = event.target.checked) } });
  let dialog;
  dialog = open(
    "Keys and mouse",
    "help",
    h("div", { class: "columns" }, ...keys, mouse),
    h(
      "p",
      { class: "legend" },
      "The participant's right is on the left.",
      h("span", { class: "line t2", text: "T2" }),
      h("span", { class: "line gel", text: "GEL" }),
      h("span", { class: "line unsure", text: "unsure" }),
      h("span", { class: "line rejected", text: "rejected" }),
    ),
    h("div", { class: "buttons" }, h("label", { class: "check" }, box, "Keys without Ctrl work"), cancel(() => dialog, "Close")),
  );
}

/** Choice of a comment of the closed list: null takes it away, undefined leaves it. */
export function chooseComment(name, comments, present) {
  return new Promise((done) => {
    let chosen;
    const options = [...comments, ...(present ? [{ code: null, text: "No comment" }] : [])];
    const buttons = options.map(({ code, text }, n) =>
      h(
        "button",
        {
          type: "button",
          class: "choice",
          "aria-pressed": String(code === (present ?? null)),
          on: {
            click: () => {
              chosen = { code };
              dialog.close();
            },
          },
        },
        n < 9 ? kbd(String(n + 1)) : h("kbd", { text: "" }),
        text,
      ),
    );
    const dialog = open(`Comment on ${name}`, "choose", h("div", { class: "choices" }, ...buttons), h("div", { class: "buttons" }, cancel(() => dialog)));
    dialog.addEventListener("keydown", (event) => {
      const n = Number(event.key);
      if (!(n >= 1 && n <= buttons.length)) return;
      event.preventDefault(); // it is no key of the page below
      buttons[n - 1].click();
    });
    dialog.addEventListener("close", () => done(chosen?.code));
  });
}

/** What is not evaluable, and why. */
export function notEvaluable(parts, reasons, onChoice) {
  const text = (code) => reasons.find((reason) => reason.code === code)?.text ?? code;
  const names = ["all", ...Object.keys(parts)];
  const radios = names.map((name, n) => {
    const part = parts[name];
    const state = part && !part.evaluable ? `not evaluable: ${part.text ?? text(part.reason)}` : part ? "evaluable" : "";
    return h(
      "label",
      { class: "check" },
      h("input", { type: "radio", name: "part", value: name, checked: n === 0 }),
      h("span", {}, PARTS[name] ?? name, state && h("small", { text: ` ${state}` })),
    );
  });
  const select = h(
    "select",
    { id: "reason", required: true },
    h("option", { value: "", text: "Choose a reason" }),
    ...reasons.map((reason) => h("option", { value: reason.code, text: reason.text })),
  );
  const part = () => form.querySelector("[name=part]:checked").value;
  const back = h("button", { type: "button", text: "Evaluable after all" });
  const form = h(
    "form",
    { method: "dialog" },
    h("fieldset", {}, h("legend", { text: "What cannot be evaluated?" }), ...radios),
    h("label", { for: "reason", text: "Reason" }),
    select,
    h("p", { class: "faint", text: "Not evaluable is not zero: no count is given." }),
    h("div", { class: "buttons" }, cancel(() => dialog), back, h("button", { class: "primary", text: "Not evaluable" })),
  );
  const mayReturn = () => {
    const name = part();
    const chosen = name === "all" ? Object.values(parts) : [parts[name]];
    back.disabled = chosen.every((one) => one.evaluable || one.by_reader === false);
  };
  form.addEventListener("change", mayReturn);
  form.addEventListener("submit", () => onChoice(part(), select.value));
  back.addEventListener("click", () => {
    onChoice(part(), null);
    dialog.close();
  });
  mayReturn();
  const dialog = open("Not evaluable", "evaluable", form);
  select.focus();
}

function tally(reading) {
  const { findings } = reading;
  const { statuses } = reading.task;
  const rows = new Map();
  const named = (name, status) => {
    const asked = !statuses?.length || statuses.includes("new"); // without a prior there is no change to name
    return STATUSES[status] ? `${name}, ${STATUSES[status].toLowerCase()}` : asked ? `${name}, no status` : name;
  };
  const count = (name) => rows.set(name, (rows.get(name) ?? 0) + 1);
  for (const f of findings.filter((one) => one.decision === "accepted")) {
    if (f.kind === "gel") count(named("Gadolinium-enhancing lesions", f.gd_status));
    else count(named("T2 lesions", f.t2_status));
  }
  const order = [...rows].sort(([a], [b]) => a.localeCompare(b));
  const rest = (name, fits, always) => {
    const n = findings.filter(fits).length;
    if (n || always) order.push([name, n]);
  };
  const left = (f) => f.decision === "undecided" && !reading.isOpen(f);
  rest("Rejected", (f) => f.decision === "rejected", true);
  rest("Unsure", (f) => f.decision === "unsure", true);
  rest("No decision needed, left as they are", (f) => left(f) && f.origin !== "offered");
  rest("Candidates offered, not decided: not counted", (f) => left(f) && f.origin === "offered");
  rest("To decide", (f) => reading.isOpen(f), true);
  return order;
}

/**
 * Sign-off: what is signed, what it means, and in a centre the password.
 * @param {Object} given `reading`, `centre`, `onSign(password, meaning)` that answers a text if it was refused,
 *   `onFirst()` goes to the first undecided finding
 */
export function signOff({ reading, centre, name, onSign, onFirst }) {
  const { task, findings, parts } = reading;
  const undecided = findings.filter((f) => reading.isOpen(f));
  const closed = Object.entries(parts).filter(([, part]) => !part.evaluable);
  const blocked = undecided.length > 0;
  const meaning = task.meanings?.[0] ?? MEANINGS[task.stage] ?? MEANINGS.assisted;
  const reason = (code) => task.reasons.find((one) => one.code === code)?.text ?? code;
  const table = h(
    "table",
    {},
    h("tbody", {}, ...tally(reading).map(([what, n]) => h("tr", {}, h("th", { scope: "row", text: what }), h("td", { text: String(n) })))),
  );
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const password = h("input", { type: "password", id: "sign-password", autocomplete: "current-password", required: true });
  const button = h("button", { class: "primary", text: "Sign", disabled: blocked });
  const form = h(
    "form",
    {},
    h("p", {}, h("strong", { text: task.label }), name ? ` \u00b7 ${name}` : ""),
    table,
    ...closed.map(([part, { reason: code, text }]) => h("p", { class: "warn", text: `${PARTS[part] ?? part}: not evaluable (${text ?? reason(code)})` })),
    blocked &&
      h(
        "p",
        { class: "warn blocked" },
        h("span", { text: `${undecided.length} to decide before the read can be signed.` }),
        h("button", { type: "button", text: "Go to the first", on: { click: () => (dialog.close(), onFirst()) } }),
      ),
    h("blockquote", { id: "meaning", text: meaning }),
    h("p", { class: "faint", text: `Your signature stands for this sentence.${centre ? " After it the reading can no longer be changed." : ""}` }),
    centre && h("label", { for: "sign-password", text: "Password" }),
    centre && password,
    problem,
    h("div", { class: "buttons" }, cancel(() => dialog), button),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    button.disabled = true;
    const refused = await onSign(centre ? password.value : undefined, meaning);
    if (refused === null) return dialog.close();
    problem.textContent = refused;
    problem.hidden = false;
    button.disabled = false;
    password.value = "";
    if (centre) password.focus();
  });
  const dialog = open("Sign off", "sign", form);
  if (centre && !blocked) password.focus();
}

/** After the signature: where to go. */
export function signed(label, next) {
  const onward = next
    ? h("a", { class: "button primary", href: `/read/${encodeURIComponent(next)}`, text: "Next visit" })
    : h("p", { text: "There is nothing left to read." });
  const dialog = open(
    "Signed",
    "signed",
    h("p", { text: `${label} is signed.` }),
    h("div", { class: "buttons" }, cancel(() => dialog, "Look at it"), h("a", { class: "button", href: "/", text: "Reading list" }), onward),
  );
  dialog.querySelector(".primary")?.focus();
}

/** Sign in again without leaving the page; answers whether it went well. */
export function signInAgain(name) {
  return new Promise((done) => {
    let well = false;
    const problem = h("p", { class: "problem", role: "alert", hidden: true });
    const user = h("input", { id: "again-name", autocomplete: "username", required: true, value: name ?? "" });
    const password = h("input", { id: "again-password", type: "password", autocomplete: "current-password", required: true });
    const form = h(
      "form",
      {},
      h("p", { text: "You were signed out. Sign in to go on; nothing is lost." }),
      h("label", { for: "again-name", text: "Name" }),
      user,
      h("label", { for: "again-password", text: "Password" }),
      password,
      problem,
      h("div", { class: "buttons" }, cancel(() => dialog), h("button", { class: "primary", text: "Sign in" })),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await session();
        await login(user.value, password.value);
        well = true;
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
        password.value = "";
      }
    });
    const dialog = open("Sign in", "again covers", form);
    password.focus();
    dialog.addEventListener("close", () => done(well));
  });
}
