/** What is set once rather than played: steps, seed, the stream's rate and quality. */
import { setOutput, setSeed, setSteps } from "../protocol.js";
import { at, input, select, setText, place } from "../page/dom.js";

/** @typedef {"low"|"medium"|"high"} Quality */

const NO_STEPS = "One to eight falling numbers from 1000 to 1, such as 1000, 750, 500, 250.";

export class Setup {
  #wishes;
  #isOpen;

  /**
   * @param {import("../stream/wishes.js").Wishes} wishes
   * @param {(type: string) => boolean} isOpen whether a command of this type is under way
   */
  constructor(wishes, isOpen) {
    this.#wishes = wishes;
    this.#isOpen = isOpen;
    onSubmit("steps-form", () => this.#setSteps());
    onSubmit("seed-form", () => this.#setSeed());
    input("seed-random").addEventListener("change", () => this.#setSeed());
    select("quality").addEventListener("change", () => this.#setQuality());
    select("fps").addEventListener("change", () => this.#setFps());
  }

  /** @param {{steps: number[] | null, seed: any, output: any}} settings */
  show({ steps, seed, output }) {
    const stepsField = input("steps");
    if (!this.#isOpen("steps.set") && document.activeElement !== stepsField) stepsField.value = steps?.join(", ") ?? "";
    const seedField = input("seed");
    if (!this.#isOpen("seed.set") && document.activeElement !== seedField) {
      input("seed-random").checked = seed.mode === "random";
      seedField.value = String(seed.seed ?? seed.current ?? "");
    }
    if (this.#isOpen("output.set")) return;
    select("quality").value = output.quality;
    select("fps").value = output.fps === null ? "" : String(output.fps);
  }

  #setSteps() {
    const words = input("steps").value.split(/[\s,]+/).filter(Boolean);
    const steps = words.map(Number);
    const isFalling = steps.every((step, index) => Number.isInteger(step) && step >= 1 && step <= 1000 && (!index || step < steps[index - 1]));
    if (steps.length > 8 || !isFalling) return setText(place("steps-hint"), NO_STEPS);
    setText(place("steps-hint"), "Empty: the model's own. Fewer are faster.");
    this.#wishes.set("steps", "Steps", () => setSteps(steps.length ? steps : null));
  }

  #setSeed() {
    const isRandom = input("seed-random").checked;
    const number = input("seed").valueAsNumber;
    if (!isRandom && !Number.isInteger(number)) return input("seed").focus();
    this.#wishes.set("seed", "Seed", () => setSeed(isRandom ? null : number));
  }

  #setQuality() {
    const quality = /** @type {Quality} */ (select("quality").value);
    this.#wishes.set("quality", "Quality", () => setOutput({ quality }));
  }

  #setFps() {
    const fps = select("fps").value ? Number(select("fps").value) : null;
    this.#wishes.set("fps", "Frame limit", () => setOutput({ fps }));
  }
}

/** @param {string} id @param {() => void} act */
function onSubmit(id, act) {
  at(id, HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}
