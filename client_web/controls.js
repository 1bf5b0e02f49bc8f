/**
 * What a person can turn: prompt, transition, guidance strength, reset. Reads the form and issues commands.
 * A control that was touched before the stream started is sent when it starts; one that was not takes the server's value.
 */
import { PROMPT_MAX_LENGTH, reset, setGuidance, setPrompt } from "./protocol.js";

const STRENGTH_INTERVAL_MS = 120; // a dragged slider must stay far below the server's message rate limit
const KEPT = "kept, and sent when the stream starts";

export class Controls {
  #elements;
  #issue;
  #notice;
  #onPrompt;
  #strengthTimer = null;
  #touched = { prompt: false, strength: false };

  /**
   * @param {object} elements promptForm, prompt, strength, strengthValue, reset
   * @param {(message: object, label: string) => boolean} issue false: no stream to send it to
   * @param {(words: string) => void} notice says why a command was not sent
   * @param {(text: string) => void} onPrompt the prompt that now holds, or will when the stream starts
   */
  constructor(elements, issue, notice, onPrompt) {
    this.#elements = elements;
    this.#issue = issue;
    this.#notice = notice;
    this.#onPrompt = onPrompt;
    elements.promptForm.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#sendPrompt();
    });
    elements.prompt.addEventListener("input", () => (this.#touched.prompt = true));
    elements.prompt.addEventListener("keydown", (event) => this.#sendOnShortcut(event));
    elements.strength.addEventListener("input", () => this.#turnStrength());
    elements.reset.addEventListener("click", () => this.#issueOrSay(reset(), "Reset", "nothing to reset yet"));
  }

  /** The default prompt, shown before a stream runs. */
  suggestPrompt(text) {
    if (!this.#touched.prompt) this.#takePrompt(text);
  }

  /** A prompt that was picked: as if it had been typed and sent. */
  pickPrompt(text) {
    this.#touched.prompt = true;
    this.#elements.prompt.value = text;
    this.#sendPrompt();
  }

  /** The stream has begun: take over its values, or send it ours where the person has already chosen. */
  greet({ prompt, guidance_scale: scale }) {
    this.#notice(""); // "sent when the stream starts" is no longer true, also where the server has the same value
    if (this.#touched.prompt && this.#promptText() && this.#promptText() !== prompt) this.#sendPrompt();
    else this.#takePrompt(prompt);
    if (this.#touched.strength && this.#scale() !== scale) this.#sendStrength();
    else this.#showStrength(scale);
  }

  #sendOnShortcut(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    event.preventDefault();
    this.#sendPrompt();
  }

  #takePrompt(text) {
    this.#elements.prompt.value = text;
    this.#onPrompt(text);
  }

  #sendPrompt() {
    const text = this.#promptText();
    if (!text) return this.#notice("The prompt is empty: write what the picture should become.");
    this.#onPrompt(text);
    this.#issueOrSay(setPrompt(text.slice(0, PROMPT_MAX_LENGTH), this.#transition()), "Prompt", KEPT);
  }

  #turnStrength() {
    this.#touched.strength = true;
    this.#elements.strengthValue.value = this.#scale().toFixed(2);
    // one message per interval while the slider is dragged, always with the newest value
    this.#strengthTimer ??= setTimeout(() => this.#sendStrength(), STRENGTH_INTERVAL_MS);
  }

  #sendStrength() {
    clearTimeout(this.#strengthTimer);
    this.#strengthTimer = null;
    this.#issueOrSay(setGuidance(this.#scale()), "Guidance strength", KEPT);
  }

  #issueOrSay(message, label, otherwise) {
    if (!this.#issue(message, label)) this.#notice(`${label}: ${otherwise}`);
  }

  #showStrength(scale) {
    this.#elements.strength.value = String(scale);
    this.#elements.strengthValue.value = scale.toFixed(2);
  }

  #promptText() {
    return this.#elements.prompt.value.trim();
  }

  #transition() {
    return new FormData(this.#elements.promptForm).get("transition");
  }

  #scale() {
    return Number(this.#elements.strength.value);
  }
}
