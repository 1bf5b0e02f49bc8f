/** Sliders and switches of guidance: strength, how it follows motion, and depth. */
import { setDepth, setGuidance } from "../protocol.js";
import { at, input, place, setText } from "../page/dom.js";

const INTERVAL_MS = 120; // a dragged slider must stay far below the server's message rate limit

export class Dials {
  #desired;
  #commands;
  /** @type {Map<string, number>} */
  #timers = new Map();
  /** @type {{enabled?: boolean, smoothing?: number, refinement?: number}} */
  #depth = {};

  /**
   * @param {import("../session/desired_state.js").DesiredState} desired
   * @param {import("../session/commands.js").Commands} commands
   */
  constructor(desired, commands) {
    this.#desired = desired;
    this.#commands = commands;
    this.#onInput("strength", () => this.#sendGuidance("Guidance strength"));
    this.#onInput("adaptive", () => this.#sendGuidance("Follow motion"));
    for (const name of /** @type {const} */ (["smoothing", "refinement"])) {
      this.#onInput(name, () => this.#sendDepth(name === "smoothing" ? "Depth smoothing" : "Depth refinement", { [name]: input(name).valueAsNumber }));
    }
    const enabled = input("depth-enabled");
    enabled.addEventListener("change", () => this.#sendDepth(enabled.checked ? "Depth on" : "Depth off", { enabled: enabled.checked }));
  }

  /** What a new stream begins with: from now on it can be changed. @param {import("../protocol.js").Defaults} defaults */
  begin(defaults) {
    for (const name of ["strength", "adaptive", "smoothing", "refinement", "depth-enabled"]) input(name).disabled = false;
    this.show(defaults);
  }

  /** One step up or down, from the keyboard. @param {number} direction */
  nudge(direction) {
    const strength = input("strength");
    if (strength.disabled) return;
    if (direction > 0) strength.stepUp();
    else strength.stepDown();
    strength.dispatchEvent(new Event("input"));
  }

  /** The stream has begun. @param {number} scale */
  greet(scale) {
    if (!this.#desired.has("guidance")) this.#show("strength", scale);
  }

  /** The server's values, unless they are just being changed here. @param {{guidance: any, depth: any}} settings */
  show({ guidance, depth }) {
    if (!this.#isBusy("guidance.set", ["strength", "adaptive"])) {
      if (typeof guidance.scale === "number") this.#show("strength", guidance.scale);
      this.#show("adaptive", guidance.adaptive);
    }
    if (!this.#isBusy("depth.set", ["smoothing", "refinement"])) {
      input("depth-enabled").checked = depth.enabled;
      this.#show("smoothing", depth.smoothing);
      this.#show("refinement", depth.refinement);
    }
  }

  /** What telemetry tells of guidance. @param {import("../protocol.js").ServerMessage} telemetry */
  telemetry({ guidance_scale: scale, depth_preview: preview }) {
    const isMoving = input("adaptive").valueAsNumber > 0;
    setText(place("effective"), isMoving && typeof scale === "number" ? `Now ${scale.toFixed(2)}.` : "");
    if (preview !== undefined) this.preview(preview);
  }

  /** @param {string | null} address a data: URL; null: none */
  preview(address) {
    const image = at("depth-preview", HTMLImageElement);
    image.hidden = !address;
    place("depth-note").hidden = Boolean(address);
    if (address) image.src = address;
  }

  /** @param {string} name @param {() => void} send */
  #onInput(name, send) {
    input(name).addEventListener("input", () => {
      this.#show(name, input(name).valueAsNumber);
      if (this.#timers.has(name)) return;
      // one message per interval while the slider is dragged, always with the newest value
      const later = () => {
        this.#timers.delete(name);
        send();
      };
      this.#timers.set(name, window.setTimeout(later, INTERVAL_MS));
    });
  }

  /** @param {string} type @param {string[]} names */
  #isBusy(type, names) {
    return this.#commands.isOpen(type) || names.some((name) => this.#timers.has(name));
  }

  /** @param {string} label */
  #sendGuidance(label) {
    const scale = input("strength").valueAsNumber;
    const adaptive = input("adaptive").valueAsNumber;
    this.#desired.set("guidance", label, () => setGuidance(scale, adaptive));
  }

  /** @param {string} label @param {{enabled?: boolean, smoothing?: number, refinement?: number}} change */
  #sendDepth(label, change) {
    const depth = (this.#depth = { ...this.#depth, ...change });
    this.#desired.set("depth", label, () => setDepth(depth));
  }

  /** @param {string} name @param {number} value */
  #show(name, value) {
    input(name).value = String(value);
    setText(place(`${name}-value`), value.toFixed(2));
  }
}
