/**
 * State of a reading: what the service has stored, with the acts on their way put on top.
 *
 * Acts are shown at once and sent one after the other, each with the revision that the one before it left. One that
 * the service refuses is taken back; one that meets a stale or locked reading is kept, so that it can be done again.
 */

import { get, post, session } from "./api.js";

const COPY = ["t2_status", "gd_status"];

export class Reading extends EventTarget {
  /** @param {string} taskId */
  constructor(taskId) {
    super();
    this.path = `/api/tasks/${encodeURIComponent(taskId)}`;
    this.task = null;
    this.waiting = []; // acts not yet answered
    this.shown = [];
    this.parts = {};
    this.sending = null;
  }

  get findings() {
    return this.shown;
  }

  finding(id) {
    return this.shown.find((finding) => finding.finding_id === id) ?? null;
  }

  get signed() {
    return this.task.state === "signed";
  }

  /** Signed for good; a single user who goes on opens his read again. */
  get readOnly() {
    return this.signed && !this.reopens;
  }

  /** Whether the read cannot be signed before this finding is decided. */
  isOpen(finding) {
    const { decision } = finding;
    return this.isNeeded(finding) && (decision === "undecided" || (this.task.stage === "adjudication" && decision === "unsure"));
  }

  isNeeded(finding) {
    const part = this.parts[finding.kind];
    const closed = part && !part.evaluable && part.by_reader !== false;
    return !closed && finding.needs_decision !== false;
  }

  get busy() {
    return this.waiting.length > 0;
  }

  async load() {
    this.task = await get(this.path);
    this.stored = new Map(this.task.findings.map((finding) => [finding.finding_id, finding]));
    this.#show();
    return this.task;
  }

  grow(kind, at) {
    return post(`${this.path}/grow`, { kind, at });
  }

  #show() {
    const findings = new Map([...this.stored].map(([id, finding]) => [id, { ...finding }]));
    const parts = structuredClone(this.task.parts ?? {});
    for (const { patch } of this.waiting) patch?.(findings, parts);
    this.shown = [...findings.values()];
    this.parts = parts;
    const { state, can_undo, segmentation } = this.task;
    const seen = JSON.stringify([this.shown, parts, state, can_undo, segmentation]);
    if (seen !== this.seen) {
      this.seen = seen; // an answer that says what is shown already costs no second drawing
      this.dispatchEvent(new Event("change"));
    }
    this.dispatchEvent(new Event("busy"));
  }

  /**
   * Do something to the reading.
   * @param {Object} body the act
   * @param {string} words what it is, for messages
   * @param {(findings: Map, parts: Object) => void} [patch] shows it before it is answered
   * @returns {Promise<Object|null>} the answer; null if it was not stored (listeners of `failed` and `stale` know)
   */
  act(body, words, patch) {
    return new Promise((done) => {
      this.waiting.push({ body, words, patch, done });
      this.#show();
      this.sending ??= this.#send().finally(() => {
        this.sending = null;
        this.dispatchEvent(new Event("busy"));
      });
    });
  }

  /** Wait until nothing is on its way. */
  async settled() {
    while (this.sending) await this.sending;
  }

  async #send() {
    while (this.waiting.length) {
      const [item] = this.waiting;
      let answer;
      try {
        answer = await post(`${this.path}/events`, { revision: this.task.revision, ...item.body });
      } catch (error) {
        const password = error.status === 401 && item.body.act === "sign" && (await stillSignedIn());
        if (error.status === 401 && !password && (await this.#signedInAgain())) continue;
        if (error.status === 409 || error.status === 0 || error.status >= 500) await this.#stale(error);
        else this.#refused(item, error);
        continue;
      }
      await this.#take(item, answer);
    }
  }

  async #take(item, answer) {
    const { task, stored } = this;
    const before = new Set(stored.keys());
    task.revision = answer.revision;
    task.can_undo = answer.can_undo;
    for (const id of answer.removed ?? []) stored.delete(id);
    for (const finding of answer.findings ?? []) stored.set(finding.finding_id, finding);
    if (answer.segmentation) task.segmentation = answer.segmentation;
    if (answer.parts) task.parts = answer.parts;
    if (answer.state) task.state = answer.state;
    else if (item.body.act === "sign") task.state = "signed";
    this.waiting.shift();
    if (!answer.parts && ["undo", "not_evaluable"].includes(item.body.act)) {
      // the answer does not say which parts are evaluable
      const found = await get(this.path).catch(() => null);
      if (found?.revision === task.revision) task.parts = found.parts;
      else if (item.body.act === "not_evaluable") item.patch?.(stored, task.parts);
    }
    this.#show();
    item.done({ ...answer, added: (answer.findings ?? []).filter((f) => !before.has(f.finding_id)) });
  }

  #refused(item, error) {
    this.waiting.shift();
    this.#show();
    item.done(null);
    this.dispatchEvent(new CustomEvent("failed", { detail: { words: item.words, error, act: item.body.act } }));
  }

  async #stale(error) {
    const items = this.waiting.splice(0);
    try {
      await this.load();
    } catch {
      this.#show();
    }
    for (const item of items) item.done(null);
    this.dispatchEvent(new CustomEvent("stale", { detail: { error, items } }));
  }

  /** Do acts again that met a stale reading; those whose findings are gone are named in the answer. */
  again(items) {
    const gone = [];
    for (const { body, words, patch } of items) {
      const ids = body.finding_ids ?? (body.finding_id ? [body.finding_id] : []);
      if (ids.every((id) => this.stored.has(id))) this.act(body, words, patch);
      else gone.push(words);
    }
    return gone;
  }

  #signedInAgain() {
    return new Promise((answer) => {
      const event = new CustomEvent("signin", { cancelable: true, detail: { answer } });
      if (this.dispatchEvent(event)) answer(false);
    });
  }

  // the acts

  decide(finding, change, words) {
    const wanted = { decision: finding.decision };
    for (const name of COPY) wanted[name] = finding[name];
    Object.assign(wanted, change);
    const id = finding.finding_id;
    return this.act({ act: "decide", finding_id: id, ...wanted }, words, (findings) => {
      if (findings.has(id)) Object.assign(findings.get(id), wanted);
    });
  }

  comment(finding, code, words) {
    const id = finding.finding_id;
    return this.act({ act: "comment", finding_id: id, code }, words, (findings) => {
      if (findings.has(id)) findings.get(id).comment = code;
    });
  }

  notEvaluable(part, reason, words) {
    return this.act({ act: "not_evaluable", part, reason }, words, (_, parts) => {
      for (const name of part === "all" ? Object.keys(parts) : [part])
        parts[name] = { evaluable: reason === null, reason, by_reader: reason !== null };
    });
  }

  undo() {
    return this.act({ act: "undo" }, "Undo");
  }
}

const stillSignedIn = () =>
  session().then(
    (who) => who.signed_in,
    () => false,
  );
