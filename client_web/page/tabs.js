/** Tabs of the control panels: one is shown, arrow keys go from tab to tab, the last one is remembered. */
import { place } from "./dom.js";
import { keep, kept } from "./storage.js";

export class Tabs {
  #tabs = /** @type {HTMLButtonElement[]} */ ([...place("tabs").querySelectorAll("[role=tab]")]);
  #onShow;

  /** @param {(panel: string) => void} onShow */
  constructor(onShow) {
    this.#onShow = onShow;
    for (const tab of this.#tabs) tab.addEventListener("click", () => this.show(panelOf(tab)));
    place("tabs").addEventListener("keydown", (event) => this.#step(event));
    const last = kept("tab", "");
    this.show(this.#tabs.some((tab) => panelOf(tab) === last) ? last : panelOf(this.#tabs[0]));
  }

  /** @param {string} panel its id */
  show(panel) {
    for (const tab of this.#tabs) {
      const isShown = panelOf(tab) === panel;
      tab.setAttribute("aria-selected", String(isShown));
      tab.tabIndex = isShown ? 0 : -1;
      place(panelOf(tab)).hidden = !isShown;
    }
    keep("tab", panel);
    this.#onShow(panel);
  }

  /** @param {KeyboardEvent} event */
  #step(event) {
    const now = this.#tabs.findIndex((tab) => tab === document.activeElement);
    /** @type {Record<string, number>} */
    const places = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: this.#tabs.length - 1 };
    if (now < 0 || !(event.key in places)) return;
    event.preventDefault();
    const next = this.#tabs[(places[event.key] + this.#tabs.length) % this.#tabs.length];
    this.show(panelOf(next));
    next.focus();
  }
}

/** @param {Element} tab */
function panelOf(tab) {
  return tab.getAttribute("aria-controls") ?? "";
}
