/** Sign-in and the list of what is to be read. */

import { get, login, post, session } from "./api.js";
import { $, h } from "./dom.js";
import { STAGES, STATES } from "./words.js";

const PAGES = { manager: [["/manage", "Manage"], ["/audit", "Audit trail"]], auditor: [["/audit", "Audit trail"]] };

function signIn() {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const name = h("input", { id: "name", autocomplete: "username", required: true });
  const password = h("input", { id: "password", type: "password", autocomplete: "current-password", required: true });
  const button = h("button", { class: "primary", text: "Sign in" });
  const form = h(
    "form",
    { class: "sign-in", "aria-labelledby": "sign-in-title" },
    h("h2", { id: "sign-in-title", text: "Sign in" }),
    h("label", { for: "name", text: "Name" }),
    name,
    h("label", { for: "password", text: "Password" }),
    password,
    problem,
    button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    try {
      await login(name.value, password.value);
      const next = new URLSearchParams(location.search).get("next");
      if (next && /^\/read\/[\w-]+$/.test(next)) location.replace(next);
      else await start();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      password.value = "";
      password.focus();
    } finally {
      button.disabled = false;
    }
  });
  $("main").replaceChildren(form);
  name.focus();
}

function taskRow(task) {
  const words = { open: "Read", begun: "Go on", signed: "Look at it" };
  const link = h("a", {
    class: task.state === "signed" ? "button" : "button primary",
    href: `/read/${encodeURIComponent(task.task_id)}`,
    text: words[task.state] ?? "Open",
    "aria-label": `${words[task.state] ?? "Open"}: ${task.label}`,
  });
  const decided = task.total ? `${task.total - task.undecided} of ${task.total}` : "\u2013";
  return h(
    "tr",
    { class: task.state },
    h("th", { scope: "row", text: task.label }),
    h("td", { text: STAGES[task.stage] ?? task.stage }),
    h("td", {}, h("span", { class: `state ${task.state}`, text: STATES[task.state] ?? task.state })),
    h("td", { class: "n", text: decided }),
    h("td", {}, link),
  );
}

async function showTasks(role) {
  const { tasks } = await get("/api/tasks");
  const left = tasks.filter((task) => task.state !== "signed");
  const box = h("input", { type: "checkbox", id: "signed" });
  const body = h("tbody", {}, ...tasks.map(taskRow));
  const table = h(
    "table",
    { class: "hide-signed" },
    h("caption", { text: tasks.length ? `${left.length} of ${tasks.length} to be read, in this order` : "" }),
    h("thead", {}, h("tr", {}, ...["Case", "Reading", "State", "Decided", ""].map((text) => (text ? h("th", { scope: "col", text }) : h("td", {}))))),
    body,
  );
  box.addEventListener("change", () => table.classList.toggle("hide-signed", !box.checked));
  const next = left[0];
  $("main").replaceChildren(
    next
      ? h("p", { class: "next" }, h("a", { class: "button primary large", href: `/read/${encodeURIComponent(next.task_id)}`, text: next.state === "begun" ? `Go on with ${next.label}` : `Read ${next.label}` }))
      : h("p", { class: "next", text: tasks.length ? "Everything is read." : "Nothing is assigned to you." }),
    ...(tasks.length ? [] : (PAGES[role] ?? []).map(([href, text]) => h("p", {}, h("a", { class: "button large", href, text })))),
    ...(tasks.length ? [h("label", { class: "check" }, box, "Show signed readings"), table] : []),
  );
}

async function start() {
  const who = await session();
  if (!who.signed_in) return signIn();
  $("links").replaceChildren(...(PAGES[who.role] ?? []).map(([href, text]) => h("a", { href, text })));
  $("who").replaceChildren(
    ...(who.mode === "centre"
      ? [
          h("span", { class: "name", text: who.name ?? "" }),
          h("button", { type: "button", text: "Sign out", on: { click: () => post("/api/logout").finally(() => location.reload()) } }),
        ]
      : []),
  );
  await showTasks(who.role);
}

start().catch((error) => {
  $("main").replaceChildren(h("p", { class: "problem", role: "alert", text: error.message }));
});
