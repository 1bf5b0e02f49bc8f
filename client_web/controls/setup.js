/** Setup panel, for what is set once: latency, steps, seed, the stream's rate and quality. */
import { setLatency, setOutput, setSeed, setSteps } from "../protocol.js";
import { at, input, select, setText, place } from "../page/dom.js";
import { limit } from "../page/limits.js";

/** @typedef {"low"|"medium"|"high"} Quality */

export class Setup {
  #desired;
  #commands;

  /**
   * @param {import("../session/desired_state.js").DesiredState} desired
   * @param {import("../session/commands.js").Commands} commands
   */
  constructor(desired, commands) {
    this.#desired = desired;
    this.#commands = commands;
    select("latency").addEventListener("change", () => this.#setLatency());
    onSubmit("steps-form", () => this.#setSteps());
    onSubmit("seed-form", () => this.#setSeed());
    input("seed-random").addEventListener("change", () => this.#setSeed());
    select("quality").addEventListener("change", () => this.#setQuality());
    select("fps").addEventListener("change", () => this.#setFps());
  }

  /** What a new stream begins with. @param {import("../protocol.js").Defaults} defaults */
  begin({ latency, output }) {
    if (!this.#desired.has("latency")) select("latency").value = latency;
    this.showOutput(output);
  }

  /** @param {{steps: number[] | null, latency: string | null, seed: any, output: any}} settings */
  show({ steps, latency, seed, output }) {
    if (!this.#commands.isOpen("latency.set")) select("latency").value = latency ?? "";
    const stepsField = input("steps");
    if (!this.#commands.isOpen("steps.set") && document.activeElement !== stepsField) stepsField.value = steps?.join(", ") ?? "";
    const seedField = input("seed");
    if (!this.#commands.isOpen("seed.set") && document.activeElement !== seedField) {
      input("seed-random").checked = seed.mode === "random";
      seedField.value = String(seed.seed ?? seed.current ?? "");
    }
    if (!this.#commands.isOpen("output.set")) this.showOutput(output);
  }

  /** @param {{fps: number | null, quality: string}} output */
  showOutput({ fps, quality }) {
    select("quality").value = quality;
    select("fps").value = fps === null ? "" : String(fps);
  }

  /** What may be written as steps, once that is known. */
  showLimits() {
    setText(place("steps-hint"), `${stepsTaken()} Fewer are faster.`);
  }

  #setLatency() {
    const level = /** @type {import("../protocol.js").LatencyLevel} */ (select("latency").value);
    this.#desired.setLast("latency", "Latency", () => setLatency(level));
  }

  #setSteps() {
    const words = input("steps").value.split(/[\s,]+/).filter(Boolean);
    const steps = words.map(Number);
    const isFalling = steps.every((step, index) => Number.isInteger(step) && step >= 1 && step <= limit("timestep") && (!index || step < steps[index - 1]));
    if (steps.length > limit("steps") || !isFalling) return setText(place("steps-hint"), stepsTaken());
    setText(place("steps-hint"), "Empty: the model's own. Fewer are faster.");
    this.#desired.setLast("steps", "Steps", () => setSteps(steps.length ? steps : null));
  }

  #setSeed() {
    const isRandom = input("seed-random").checked;
    const number = input("seed").valueAsNumber;
    if (!isRandom && !Number.isInteger(number)) return input("seed").focus();
    this.#desired.set("seed", "Seed", () => setSeed(isRandom ? null : number));
  }

  #setQuality() {
    const quality = /** @type {Quality} */ (select("quality").value);
    this.#desired.set("quality", "Quality", () => setOutput({ quality }));
  }

  #setFps() {
    const fps = select("fps").value ? Number(select("fps").value) : null;
    this.#desired.set("fps", "Frame limit", () => setOutput({ fps }));
  }
}

function stepsTaken() {
  return `Up to ${limit("steps")} falling whole numbers from ${limit("timestep")} to 1.`;
}

/** @param {string} id @param {() => void} act */
function onSubmit(id, act) {
  at(id, HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}
