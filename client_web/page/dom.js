/** Elements of index.html, by id and kind: a name that is wrong fails at once, and loudly. */

/**
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function at(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new TypeError(`#${id} is ${element?.tagName ?? "missing"}, expected ${kind.name}`);
  return element;
}

export const button = (/** @type {string} */ id) => at(id, HTMLButtonElement);
export const input = (/** @type {string} */ id) => at(id, HTMLInputElement);
export const select = (/** @type {string} */ id) => at(id, HTMLSelectElement);
export const place = (/** @type {string} */ id) => at(id, HTMLElement);
export const video = (/** @type {string} */ id) => at(id, HTMLVideoElement);
export const canvas = (/** @type {string} */ id) => at(id, HTMLCanvasElement);

/**
 * A new element with properties and children.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Partial<HTMLElementTagNameMap[K]>} properties
 * @param {...(Node|string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Writing only what changed keeps screen readers quiet: a live region announces every write. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A switch that is lit while it is on. @param {Element} element @param {boolean} isOn */
export function press(element, isOn) {
  element.setAttribute("aria-pressed", String(isOn));
}

/** @param {Element} element */
export const isPressed = (element) => element.getAttribute("aria-pressed") === "true";

/**
 * The canvas's drawing context; every browser that has WebRTC has it.
 * @param {HTMLCanvasElement} element
 */
export function context2d(element) {
  const context = element.getContext("2d");
  if (!context) throw new Error("this browser draws no pictures");
  return context;
}
