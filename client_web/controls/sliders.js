/** Sliders that send while they are dragged: one message an interval at most, always with the newest value. */
import { input, place, setText } from "../page/dom.js";

const INTERVAL_MS = 120; // a dragged slider must stay far below the server's message rate limit

export class Sliders {
  /** @type {Map<string, number>} */
  #timers = new Map();

  /** @param {string} name @param {() => void} send */
  on(name, send) {
    input(name).addEventListener("input", () => {
      this.show(name, input(name).valueAsNumber);
      if (this.#timers.has(name)) return;
      const later = () => {
        this.#timers.delete(name);
        send();
      };
      this.#timers.set(name, window.setTimeout(later, INTERVAL_MS));
    });
  }

  /** Whether one of them has just been moved. @param {readonly string[]} names */
  isDragged(names) {
    return names.some((name) => this.#timers.has(name));
  }

  /** @param {string} name @param {number} value */
  show(name, value) {
    input(name).value = String(value);
    setText(place(`${name}-value`), value.toFixed(2));
  }
}
