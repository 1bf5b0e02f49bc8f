/** Gallery of the looks that the model knows, each a button with a picture: pressed is the one whose prompt holds. */
import { make, place } from "../page/dom.js";

/** @typedef {import("../protocol.js").Look} Look from api/info */

const SHAPE = { width: 256, height: 144 }; // holds a picture's place until it is there

export class Gallery {
  #list = place("looks-list");
  #pick;
  #shown = "[]"; // the looks on the page, to build them once
  #prompt = "";

  /** @param {(prompt: string) => void} pick */
  constructor(pick) {
    this.#pick = pick;
  }

  /** @param {Look[]} looks */
  show(looks) {
    place("looks-empty").hidden = looks.length > 0;
    const shown = JSON.stringify(looks);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#list.replaceChildren(...looks.map((look) => this.#item(look)));
    this.mark(this.#prompt);
  }

  /** @param {string} prompt the one that holds now */
  mark(prompt) {
    this.#prompt = prompt;
    for (const button of this.#list.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.prompt === prompt));
    }
  }

  /** The nth look, from 0, as if it had been pressed. @param {number} index */
  press(index) {
    this.#list.querySelectorAll("button")[index]?.click();
  }

  /** @param {Look} look */
  #item({ name, prompt, thumbnail }) {
    const button = make("button", { type: "button", title: prompt }, thumbnail ? picture(thumbnail) : blank(), make("span", {}, name));
    button.dataset.prompt = prompt;
    button.addEventListener("click", () => this.#pick(prompt));
    return make("li", {}, button);
  }
}

/** @param {string} address */
function picture(address) {
  const image = new Image(SHAPE.width, SHAPE.height);
  image.loading = "lazy"; // before src: it is asked for as soon as that is set
  image.decoding = "async";
  image.alt = ""; // the name beside it says what it is
  image.src = address;
  return image;
}

function blank() {
  return make("span", { className: "blank" });
}
