/** Graph of one figure over the last two minutes. Colours are those of the canvas in the style sheet. */
import { context2d } from "../page/dom.js";

const SPAN_S = 120;
const LABEL_PX = 12;

export class Graph {
  #canvas;
  /** @type {{at: number, value: number}[]} */
  #points = [];

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** @param {number} at seconds @param {number} value */
  add(at, value) {
    this.#points.push({ at, value });
    this.#points = this.#points.filter((point) => point.at > at - SPAN_S);
    this.draw();
  }

  clear() {
    this.#points = [];
    this.draw();
  }

  /** Of the last two minutes, or null. @returns {{low: number, high: number} | null} */
  get range() {
    const values = this.#points.map((point) => point.value);
    return values.length ? { low: Math.min(...values), high: Math.max(...values) } : null;
  }

  draw() {
    const { clientWidth, clientHeight } = this.#canvas;
    if (!clientWidth) return; // its panel is not open
    const scale = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(clientWidth * scale);
    this.#canvas.height = Math.round(clientHeight * scale);
    const context = context2d(this.#canvas);
    context.scale(scale, scale);
    const { color, accentColor, fontFamily } = getComputedStyle(this.#canvas);
    const ceiling = niceCeiling(this.range?.high ?? 1000);
    const left = 44;
    const y = (/** @type {number} */ value) => clientHeight - 8 - (value / ceiling) * (clientHeight - 20);
    context.font = `${LABEL_PX}px ${fontFamily}`;
    context.fillStyle = color;
    context.strokeStyle = color;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const value of [0, ceiling / 2, ceiling]) {
      context.globalAlpha = 0.25;
      context.fillRect(left, Math.round(y(value)), clientWidth - left - 6, 1);
      context.globalAlpha = 1;
      context.fillText(value >= 1000 ? `${value / 1000} s` : `${value}`, left - 6, y(value));
    }
    const last = this.#points.at(-1);
    if (!last) return;
    const x = (/** @type {number} */ at) => clientWidth - 6 - ((last.at - at) / SPAN_S) * (clientWidth - left - 6);
    context.strokeStyle = accentColor;
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.beginPath();
    for (const { at, value } of this.#points) context.lineTo(x(at), y(value));
    context.stroke();
    context.fillStyle = accentColor;
    context.beginPath();
    context.arc(x(last.at), y(last.value), 3.5, 0, 7);
    context.fill();
  }
}

/** 1, 2 or 5 times a power of ten, at least `value`. @param {number} value */
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value) ?? value;
}
