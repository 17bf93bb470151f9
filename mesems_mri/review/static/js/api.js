/** Calls of the service: JSON, a session cookie, one token against forged requests. */

export class ApiError extends Error {
  /** @param {number} status 0: no answer */
  constructor(status, detail, revision) {
    super(sentence(detail));
    this.status = status;
    this.revision = revision;
  }
}

/** Text of the service as a sentence of the page. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

let csrf = "";
let lastContact = Date.now();

/** Milliseconds since the service last answered. */
export const sinceContact = () => Date.now() - lastContact;

async function call(path, options = {}) {
  let response;
  try {
    const early = options.method ? null : window.early?.get(path);
    window.early?.delete(path);
    response = await (early ?? fetch(path, { credentials: "same-origin", ...options }));
  } catch {
    throw new ApiError(0, "The service does not answer.");
  }
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    const detail = typeof said.detail === "string" ? said.detail : `The service refused it (${response.status}).`;
    throw new ApiError(response.status, detail, said.revision);
  }
  lastContact = Date.now();
  return response;
}

export const get = async (path) => (await call(path)).json();

/** Bytes of a file; gzip is unpacked while it arrives. */
export async function bytes(path, priority = "auto") {
  const response = await call(path, { priority });
  const packed = new URL(path, location.href).pathname.endsWith(".gz") && !response.headers.get("Content-Encoding");
  return packed ? new Response(response.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer() : response.arrayBuffer();
}

export async function session() {
  const found = await get("/api/session");
  csrf = found.csrf ?? "";
  return found;
}

const send = (path, body) =>
  call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
  });

/** Post; a stale token is renewed once. */
export async function post(path, body = {}) {
  const token = csrf;
  try {
    return await (await send(path, body)).json();
  } catch (error) {
    if (error.status !== 403) throw error;
    const { csrf: renewed } = await session();
    if (renewed === token) throw error;
    return (await send(path, body)).json();
  }
}

export async function login(name, password) {
  const found = await post("/api/login", { name, password });
  return found.csrf === undefined ? session() : ((csrf = found.csrf), found);
}
