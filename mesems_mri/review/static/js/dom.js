/** Elements of the page. Text is always text: nothing here reads markup. */

/**
 * Make an element.
 * @param {string} tag
 * @param {Object} [given] attributes; `class`, `text`, `on` (listeners), `data` (data- attributes) are special,
 *   true is an empty attribute, false and null are none
 * @param {...(Node|string|null|false)} children
 */
export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "on") for (const [type, run] of Object.entries(value)) element.addEventListener(type, run);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const $ = (id) => document.getElementById(id);

/** Say something to a screen reader without moving the focus. */
export function announce(text) {
  const region = $("said");
  region.textContent = "";
  requestAnimationFrame(() => (region.textContent = text));
}

/** A key as it stands on a keyboard. */
export const kbd = (text) => h("kbd", { text });
