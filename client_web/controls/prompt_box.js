/** Prompt box: the prompt, alone or mixed with a second one, and how it takes over from the one before. */
import { setPrompt, setPrompts } from "../protocol.js";
import { at, button, input, place, select, setText } from "../page/dom.js";
import { limit } from "../page/limits.js";
import { History } from "./history.js";

/**
 * @typedef {import("../protocol.js").Transition} Transition
 * @typedef {import("../protocol.js").WeightedPrompt} WeightedPrompt
 */

export class PromptBox {
  #form = at("prompt-form", HTMLFormElement);
  #text = at("prompt", HTMLTextAreaElement);
  #second = input("prompt-second");
  #balance = input("balance");
  #mixToggle = button("mix-toggle");
  #desired;
  #notice;
  #onPrompt;
  #history = new History((prompt) => this.pick(prompt));
  #isDraft = false; // written, and not yet sent

  /**
   * @param {import("../session/desired_state.js").DesiredState} desired
   * @param {(words: string) => void} notice
   * @param {(prompt: string) => void} onPrompt the prompt that now holds, or will when the stream starts
   */
  constructor(desired, notice, onPrompt) {
    this.#desired = desired;
    this.#notice = notice;
    this.#onPrompt = onPrompt;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#form.addEventListener("change", () => this.#showOptions());
    this.#text.addEventListener("input", () => (this.#isDraft = true));
    this.#text.addEventListener("keydown", (event) => this.#sendOnShortcut(event));
    this.#second.addEventListener("input", () => (this.#isDraft = true));
    this.#balance.addEventListener("input", () => this.#showBalance());
    this.#balance.addEventListener("change", () => this.#send()); // one command when it is let go, not thirty
    this.#mixToggle.addEventListener("click", () => this.#mix(place("mix").hidden === true));
    this.#showOptions();
  }

  /** How a prompt takes over if nothing else is chosen. @param {import("../protocol.js").Defaults} defaults */
  begin({ transition, chunks, curve }) {
    for (const choice of document.querySelectorAll("input[name=transition]")) {
      if (choice instanceof HTMLInputElement && choice.value === transition) choice.checked = true;
    }
    input("blend-chunks").value = String(chunks);
    select("blend-curve").value = curve;
    this.#showOptions();
  }

  /** The default prompt, shown before a stream runs. @param {string} text */
  suggest(text) {
    if (!this.#isDraft && !this.#desired.has("prompt")) this.#take(text);
  }

  /** A prompt that was picked: as if it had been typed and sent. @param {string} text */
  pick(text) {
    this.#mix(false);
    this.#text.value = text;
    this.#send();
  }

  /**
   * The stream has begun: take over its prompt, unless the person has already written one.
   * @param {string} prompt
   * @param {boolean} isResumed it is the one from before: what is being written meanwhile is not ready to be shown
   */
  greet(prompt, isResumed) {
    const text = this.#text.value.trim();
    if (this.#isDraft && text && text !== prompt) {
      if (!isResumed) this.#send();
    } else if (!this.#desired.has("prompt")) this.#take(prompt);
  }

  /** What the server generates now, perhaps by another hand or by the timeline. @param {WeightedPrompt[]} prompts */
  show(prompts) {
    const [first, second] = prompts;
    if (!first || this.#isDraft || document.activeElement === this.#text) return this.#onPrompt(prompts.length === 1 ? first.text : "");
    this.#text.value = first.text;
    this.#onPrompt(second ? "" : first.text);
    if (!second || document.activeElement === this.#second || document.activeElement === this.#balance) return;
    this.#mix(true);
    this.#second.value = second.text;
    this.#balance.value = String(second.weight / (first.weight + second.weight));
    this.#showBalance();
  }

  /** What has been loaded takes the place of what is written. @param {WeightedPrompt[]} prompts */
  adopt(prompts) {
    const [first, second] = prompts;
    this.#isDraft = false;
    this.#text.value = first.text;
    this.#mix(Boolean(second));
    if (second) {
      this.#second.value = second.text;
      this.#balance.value = String(second.weight / (first.weight + second.weight));
      this.#showBalance();
    }
    this.#onPrompt(second ? "" : first.text);
  }

  focus() {
    this.#text.focus();
    this.#text.select();
  }

  /** How the next prompt takes over. @returns {import("../protocol.js").Change} */
  change() {
    const transition = /** @type {Transition | null} */ (new FormData(this.#form).get("transition")) ?? undefined;
    const written = Math.round(input("blend-chunks").valueAsNumber);
    const chunks = written ? Math.min(limit("blend_chunks"), Math.max(1, written)) : undefined; // NaN: nothing is written
    const curve = /** @type {import("../protocol.js").Curve} */ (select("blend-curve").value);
    return { transition, chunks, curve };
  }

  /** @param {KeyboardEvent} event */
  #sendOnShortcut(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    event.preventDefault();
    this.#send();
  }

  /** @param {string} text */
  #take(text) {
    if (this.#text.value !== text) this.#text.value = text;
    this.#onPrompt(text);
  }

  #send() {
    const text = this.#text.value.trim();
    if (!text) return this.#notice("The prompt is empty: write what the picture should become.");
    this.#isDraft = false;
    const second = place("mix").hidden ? "" : this.#second.value.trim();
    const share = this.#balance.valueAsNumber;
    const change = this.change();
    this.#history.add(text);
    if (!second || share === 0) this.#desired.set("prompt", "Prompt", () => setPrompt(text, change));
    else if (share === 1) this.#desired.set("prompt", "Prompt", () => setPrompt(second, change));
    else {
      const prompts = [{ text, weight: 1 - share }, { text: second, weight: share }];
      this.#desired.set("prompt", "Prompt", () => setPrompts(prompts, change));
    }
    this.#onPrompt(second ? "" : text);
  }

  /** @param {boolean} isOpen */
  #mix(isOpen) {
    place("mix").hidden = !isOpen;
    this.#mixToggle.setAttribute("aria-expanded", String(isOpen));
    setText(this.#mixToggle, isOpen ? "One prompt only" : "Mix a second prompt");
    if (isOpen && document.activeElement === this.#mixToggle) this.#second.focus();
  }

  #showBalance() {
    setText(place("balance-value"), `${Math.round(100 * this.#balance.valueAsNumber)} %`);
  }

  #showOptions() {
    place("blend-options").hidden = this.change().transition !== "blend";
  }
}
