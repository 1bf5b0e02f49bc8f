/**
 * Limits and defaults of commands, as the server tells them in api/info: nothing here has a copy. Until they are known
 * there is no limit, and the server refuses what is too much. An element with `data-limit` is held to the limit it names.
 *
 * @typedef {import("../protocol.js").Limits} Limits
 */

/** @type {Partial<Limits>} */
let limits = {};

/** @param {keyof Limits} name @returns {number} Infinity until it is known */
export function limit(name) {
  return limits[name] ?? Infinity;
}

/** @param {Limits} told @returns {boolean} they are not those from before */
export function setLimits(told) {
  if (JSON.stringify(told) === JSON.stringify(limits)) return false;
  limits = told;
  for (const element of document.querySelectorAll("[data-limit]")) hold(element);
  return true;
}

/** Holds an element of the page's own making to a limit, also to one that comes later. @param {HTMLElement} element @param {keyof Limits} name */
export function holdTo(element, name) {
  element.dataset.limit = name;
  hold(element);
}

/** @param {Element} element */
function hold(element) {
  if (!(element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement)) return;
  const most = limit(/** @type {keyof Limits} */ (element.dataset.limit));
  if (!Number.isFinite(most)) return;
  if (element instanceof HTMLInputElement && ["number", "range"].includes(element.type)) element.max = String(most);
  else element.maxLength = most;
}
