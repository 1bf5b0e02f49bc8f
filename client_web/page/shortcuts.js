/** Keyboard shortcuts of one letter, and the overlay that lists them. Off while one writes; they can be switched off. */
import { at, button, input, make, place } from "./dom.js";
import { keep, kept } from "./storage.js";

/** @typedef {{keys: string[], shown?: string, words: string, act: (key: string) => void}} Shortcut `keys`: as KeyboardEvent.key has them */

const WRITTEN_IN = "textarea, select, input:not([type=range], [type=checkbox], [type=radio], [type=file])";

export class Shortcuts {
  #shortcuts;
  #switch = input("shortcuts");
  #help = at("help", HTMLDialogElement);

  /**
   * @param {Shortcut[]} shortcuts
   * @param {() => void} hold what P and the Pause key do, the latter also while one writes
   */
  constructor(shortcuts, hold) {
    this.#shortcuts = [
      { keys: ["P", "Pause"], words: "Pause and go on", act: hold },
      ...shortcuts,
      { keys: ["?"], words: "This list", act: () => this.open() },
    ];
    place("help-keys").replaceChildren(...this.#shortcuts.map(entry));
    button("open-help").addEventListener("click", () => this.open());
    this.#switch.checked = kept("shortcuts", true) !== false;
    this.#switch.addEventListener("change", () => keep("shortcuts", this.#switch.checked));
    document.addEventListener("keydown", (event) => this.#press(event, hold));
  }

  open() {
    if (!this.#help.open) this.#help.showModal();
  }

  /** @param {KeyboardEvent} event @param {() => void} hold */
  #press(event, hold) {
    if (event.key === "Pause" || (event.altKey && event.code === "KeyP")) {
      event.preventDefault();
      return hold();
    }
    if (!this.#switch.checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]") || (event.target instanceof Element && event.target.matches(WRITTEN_IN))) return;
    const pressed = event.key.length === 1 ? event.key.toUpperCase() : event.key;
    const shortcut = this.#shortcuts.find(({ keys }) => keys.includes(pressed));
    if (!shortcut) return;
    event.preventDefault();
    shortcut.act(pressed);
  }
}

/** @param {Shortcut} shortcut */
function entry({ keys, shown = keys[0], words }) {
  return make("div", {}, make("dt", {}, words), make("dd", {}, make("kbd", {}, shown)));
}
