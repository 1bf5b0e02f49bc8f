/** Sliders, switches and previews of guidance: strength, how it follows motion, depth, and the controls beside it. */
import { setControls, setDepth, setGuidance } from "../protocol.js";
import { at, input, place, setText } from "../page/dom.js";
import { Sliders } from "./sliders.js";

const BESIDE_DEPTH = /** @type {const} */ (["gray", "lines"]);
const LABELS = { gray: "Gray", lines: "Lines" };

export class Dials {
  #desired;
  #commands;
  #sliders = new Sliders();
  /** @type {{enabled?: boolean, smoothing?: number, refinement?: number}} */
  #depth = {};
  /** @type {Partial<import("../protocol.js").Strengths>} */
  #controls = {};

  /**
   * @param {import("../session/desired_state.js").DesiredState} desired
   * @param {import("../session/commands.js").Commands} commands
   */
  constructor(desired, commands) {
    this.#desired = desired;
    this.#commands = commands;
    this.#sliders.on("strength", () => this.#sendGuidance("Guidance strength"));
    this.#sliders.on("adaptive", () => this.#sendGuidance("Follow motion"));
    for (const name of /** @type {const} */ (["smoothing", "refinement"])) {
      this.#sliders.on(name, () => this.#sendDepth(name === "smoothing" ? "Depth smoothing" : "Depth refinement", { [name]: input(name).valueAsNumber }));
    }
    for (const name of BESIDE_DEPTH) this.#sliders.on(name, () => this.#sendControl(name));
    const enabled = input("depth-enabled");
    enabled.addEventListener("change", () => this.#sendDepth(enabled.checked ? "Depth on" : "Depth off", { enabled: enabled.checked }));
  }

  /** What a new stream begins with: from now on it can be changed. @param {import("../protocol.js").Defaults} defaults */
  begin(defaults) {
    for (const name of ["strength", "adaptive", "smoothing", "refinement", "depth-enabled", ...BESIDE_DEPTH]) input(name).disabled = false;
    this.show(defaults);
  }

  /** What a new stream of the model that is there now begins with, where nothing else was set. @param {import("../protocol.js").Defaults} defaults */
  expect({ guidance, controls }) {
    if (!this.#desired.has("guidance") && !this.#isBusy("guidance.set", ["strength", "adaptive"]) && typeof guidance.scale === "number") this.#sliders.show("strength", guidance.scale);
    for (const name of BESIDE_DEPTH) if (!(name in this.#controls)) this.#showControl(name, controls);
  }

  /** What has been loaded is what the next change adds to. @param {{depth?: {enabled?: boolean, smoothing?: number, refinement?: number}, controls?: Partial<import("../protocol.js").Strengths>}} parts */
  adopt({ depth, controls }) {
    this.#depth = { ...this.#depth, ...depth };
    this.#controls = { ...this.#controls, ...controls };
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
    if (!this.#desired.has("guidance")) this.#sliders.show("strength", scale);
  }

  /** The server's values, unless they are just being changed here. @param {{guidance: any, depth: any, controls: import("../protocol.js").Strengths}} settings */
  show({ guidance, depth, controls }) {
    if (!this.#isBusy("guidance.set", ["strength", "adaptive"])) {
      if (typeof guidance.scale === "number") this.#sliders.show("strength", guidance.scale);
      this.#sliders.show("adaptive", guidance.adaptive);
    }
    if (!this.#isBusy("depth.set", ["smoothing", "refinement"])) {
      input("depth-enabled").checked = depth.enabled;
      this.#sliders.show("smoothing", depth.smoothing);
      this.#sliders.show("refinement", depth.refinement);
    }
    for (const name of BESIDE_DEPTH) this.#showControl(name, controls);
  }

  /** What telemetry tells of guidance. @param {import("../protocol.js").ServerMessage} telemetry */
  telemetry({ guidance_scale: scale, depth_preview: depth, gray_preview: gray, lines_preview: lines }) {
    const isMoving = input("adaptive").valueAsNumber > 0;
    setText(place("effective"), isMoving && typeof scale === "number" ? `Now ${scale.toFixed(2)}.` : "");
    this.#preview("depth", depth);
    this.#preview("gray", gray);
    this.#preview("lines", lines);
  }

  /** The model is given nothing any more. */
  clear() {
    for (const name of ["depth", ...BESIDE_DEPTH]) this.#preview(name, null);
  }

  /** Depth always has its place; what is off beside it has none. @param {string} name @param {string | null} [address] a data: URL */
  #preview(name, address) {
    const image = at(`${name}-preview`, HTMLImageElement);
    image.hidden = !address;
    if (address) image.src = address;
    if (name === "depth") place("depth-note").hidden = Boolean(address);
    else place(`${name}-figure`).hidden = !address;
  }

  /** @param {string} type @param {string[]} names */
  #isBusy(type, names) {
    return this.#commands.isOpen(type) || this.#sliders.isDragged(names);
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

  /** @param {keyof import("../protocol.js").Strengths} name */
  #sendControl(name) {
    const controls = (this.#controls = { ...this.#controls, [name]: input(name).valueAsNumber });
    this.#desired.set("controls", LABELS[name], () => setControls(controls));
  }

  /** @param {keyof import("../protocol.js").Strengths} name @param {import("../protocol.js").Strengths} controls */
  #showControl(name, controls) {
    if (!this.#isBusy("controls.set", [...BESIDE_DEPTH])) this.#sliders.show(name, controls[name]);
  }
}
