/** Timeline of prompts: a list to edit, play, save and load. */
import { setTimeline, stopTimeline } from "../protocol.js";
import { button, input, make, place, setText } from "../page/dom.js";
import { keep, kept } from "../page/storage.js";
import { holdTo, limit } from "../page/limits.js";
import { save } from "./pictures.js";
import { GAP_S, readTimeline } from "./timeline_file.js";

/** @typedef {import("../protocol.js").TimelineStep} TimelineStep */
/** @typedef {{steps: TimelineStep[], loop: boolean, duration: number}} Draft */

export class Timeline {
  #desired;
  #prompt;
  #list = place("timeline-steps");
  /** @type {Draft} */
  #draft;
  #transition = ""; // of a step that names none

  /**
   * @param {import("../session/desired_state.js").DesiredState} desired
   * @param {() => string} prompt the one in the box: what a new line begins with
   */
  constructor(desired, prompt) {
    this.#desired = desired;
    this.#prompt = prompt;
    this.#draft = this.#kept();
    button("timeline-add").addEventListener("click", () => this.#add());
    button("timeline-play").addEventListener("click", () => this.play());
    button("timeline-stop").addEventListener("click", () => this.stop());
    button("timeline-save").addEventListener("click", () => this.#save());
    const file = input("timeline-file");
    button("timeline-load").addEventListener("click", () => file.click());
    file.addEventListener("change", () => void this.#load(file));
    input("timeline-loop").addEventListener("change", () => this.#edit({ loop: input("timeline-loop").checked }));
    input("timeline-duration").addEventListener("change", () => this.#edit({ duration: input("timeline-duration").valueAsNumber }));
    this.#show();
  }

  /** @param {import("../protocol.js").Defaults} defaults */
  begin({ transition }) {
    this.#transition = transition;
    this.#show();
  }

  /** What is written here, played or not. @returns {Draft} */
  get draft() {
    return this.#draft;
  }

  /** As if it had been loaded. @param {unknown} draft */
  adopt(draft) {
    this.#edit(readTimeline(JSON.stringify(draft), limit("timeline_steps")));
    this.#show();
  }

  play() {
    const trouble = troubleOf(this.#draft);
    if (trouble) return this.#say(trouble);
    const { steps, loop, duration } = structuredClone(this.#draft);
    this.#say("");
    this.#desired.set("timeline", "Timeline", () => setTimeline(steps, { loop, duration }));
  }

  stop() {
    this.#desired.undo("timeline", "Timeline stop", stopTimeline);
  }

  /** Where the server is in it. @param {{step: number | null} | null} timeline of `settings` */
  show(timeline) {
    for (const [index, item] of [...this.#list.children].entries()) {
      if (index === timeline?.step) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    }
    if (!timeline) this.position(null);
  }

  /** @param {number | null | undefined} seconds */
  position(seconds) {
    if (typeof seconds === "number") this.#say(`At ${seconds.toFixed(1)} s.`);
    else if (/^At /.test(place("timeline-words").textContent ?? "")) this.#say("");
  }

  #add() {
    const last = this.#draft.steps.at(-1);
    const at = last ? last.at + GAP_S : 0;
    const steps = [...this.#draft.steps, { at, text: this.#prompt(), transition: /** @type {const} */ ("blend") }];
    this.#edit({ steps, duration: Math.max(this.#draft.duration, at + GAP_S) });
    this.#show();
    const fields = this.#list.lastElementChild?.querySelectorAll("input");
    fields?.[1]?.focus();
  }

  /** @param {Partial<Draft>} change */
  #edit(change) {
    this.#draft = { ...this.#draft, ...change };
    keep("timeline", this.#draft);
    this.#say(troubleOf(this.#draft));
  }

  #show() {
    this.#list.replaceChildren(...this.#draft.steps.map((step, index) => this.#row(step, index)));
    input("timeline-loop").checked = this.#draft.loop;
    input("timeline-duration").value = String(this.#draft.duration);
  }

  /** @param {TimelineStep} step @param {number} index */
  #row(step, index) {
    const name = `Prompt ${index + 1}`;
    const at = make("input", { type: "number", min: "0", step: "0.5", value: String(step.at), disabled: index === 0, inputMode: "decimal" });
    const text = make("input", { type: "text", value: step.text });
    const transition = make("select", {}, new Option("Flow", "recache"), new Option("Blend", "blend"), new Option("Cut", "cut"));
    const remove = make("button", { type: "button", title: `Remove ${name}` }, "×");
    holdTo(text, "prompt_length");
    transition.value = step.transition ?? this.#transition;
    at.setAttribute("aria-label", `${name}, seconds`);
    text.setAttribute("aria-label", name);
    transition.setAttribute("aria-label", `${name}, transition`);
    remove.setAttribute("aria-label", `Remove ${name}`);
    const change = (/** @type {Partial<TimelineStep>} */ fields) => {
      this.#edit({ steps: this.#draft.steps.map((one, place) => (place === index ? { ...one, ...fields } : one)) });
    };
    at.addEventListener("change", () => change({ at: at.valueAsNumber }));
    text.addEventListener("change", () => change({ text: text.value.trim() }));
    transition.addEventListener("change", () => change({ transition: /** @type {TimelineStep["transition"]} */ (transition.value) }));
    remove.addEventListener("click", () => this.#remove(index));
    return make("li", {}, at, transition, text, remove);
  }

  /** @param {number} index */
  #remove(index) {
    const steps = this.#draft.steps.filter((_, place) => place !== index);
    if (steps.length) steps[0] = { ...steps[0], at: 0 };
    this.#edit({ steps });
    this.#show();
    button("timeline-add").focus(); // the button that was pressed is gone
  }

  #save() {
    const text = JSON.stringify(this.#draft, null, 2);
    save(new Blob([text], { type: "application/json" }), "timeline.json");
  }

  /** @param {HTMLInputElement} file */
  async #load(file) {
    const chosen = file.files?.[0];
    if (!chosen) return;
    try {
      this.#edit(readTimeline(await chosen.text(), limit("timeline_steps")));
      this.#show();
    } catch (error) {
      this.#say(`${chosen.name} is no timeline: ${error instanceof Error ? error.message : error}`);
    }
    file.value = "";
  }

  /** @returns {Draft} */
  #kept() {
    try {
      return readTimeline(JSON.stringify(kept("timeline", null)));
    } catch {
      return { steps: [], loop: false, duration: 20 };
    }
  }

  /** @param {string} words */
  #say(words) {
    setText(place("timeline-words"), words);
  }
}

/** What keeps it from being played, or nothing. @param {Draft} draft */
function troubleOf({ steps, loop, duration }) {
  if (!steps.length) return "Add a prompt first.";
  for (const [index, step] of steps.entries()) {
    if (!step.text) return `Prompt ${index + 1} is empty.`;
    if (!Number.isFinite(step.at)) return `Prompt ${index + 1} has no time.`;
    if (index && step.at <= steps[index - 1].at) return `Prompt ${index + 1} must come later than prompt ${index}.`;
  }
  const last = steps[steps.length - 1].at;
  if (loop && !(duration > last)) return `The loop must end after the last prompt, so after ${last} s.`;
  return "";
}
