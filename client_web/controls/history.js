/** History of the prompts sent from this browser: a list to pick from, newest first. */
import { at, make, place } from "../page/dom.js";
import { keep, kept } from "../page/storage.js";

const MOST = 30;

export class History {
  #box = at("history", HTMLDetailsElement);
  #list = place("history-list");
  #pick;
  /** @type {string[]} */
  #prompts;

  /** @param {(prompt: string) => void} pick */
  constructor(pick) {
    this.#pick = pick;
    const stored = kept("history", []);
    this.#prompts = Array.isArray(stored) ? stored.filter((prompt) => typeof prompt === "string").slice(0, MOST) : [];
    this.#box.addEventListener("keydown", (event) => event.key === "Escape" && this.#close());
    document.addEventListener("pointerdown", (event) => {
      if (event.target instanceof Node && !this.#box.contains(event.target)) this.#box.open = false;
    });
    this.#show();
  }

  /** @param {string} prompt */
  add(prompt) {
    this.#prompts = [prompt, ...this.#prompts.filter((earlier) => earlier !== prompt)].slice(0, MOST);
    keep("history", this.#prompts);
    this.#show();
  }

  #show() {
    const items = this.#prompts.map((prompt) => {
      const button = make("button", { type: "button" }, prompt);
      button.addEventListener("click", () => {
        this.#close();
        this.#pick(prompt);
      });
      return make("li", {}, button);
    });
    if (!items.length) items.push(make("li", { className: "hint" }, "What you send is kept here, in this browser."));
    this.#list.replaceChildren(...items);
  }

  #close() {
    this.#box.open = false;
    this.#box.querySelector("summary")?.focus();
  }
}
