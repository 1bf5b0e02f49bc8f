/** The looks that the model knows, each a button with a picture: pressed is the one whose prompt holds. */

const SHAPE = { width: 256, height: 144 }; // holds a picture's place until it is there

export class Gallery {
  #section;
  #list;
  #pick;
  #shown = "[]"; // the looks on the page, to build them once
  #prompt = "";

  /**
   * @param {HTMLElement} section hidden while there are no looks
   * @param {HTMLElement} list
   * @param {(prompt: string) => void} pick
   */
  constructor(section, list, pick) {
    this.#section = section;
    this.#list = list;
    this.#pick = pick;
  }

  /** @param {{name: string, prompt: string, thumbnail: string|null}[]} looks from /api/info */
  show(looks) {
    const shown = JSON.stringify(looks);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#list.replaceChildren(...looks.map((look) => this.#item(look)));
    this.#section.hidden = looks.length === 0;
    this.mark(this.#prompt);
  }

  /** @param {string} prompt the one that holds now */
  mark(prompt) {
    this.#prompt = prompt;
    for (const button of this.#list.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.prompt === prompt));
    }
  }

  #item({ name, prompt, thumbnail }) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = prompt;
    button.dataset.prompt = prompt;
    button.append(thumbnail ? picture(thumbnail) : blank(), caption(name));
    button.addEventListener("click", () => this.#pick(prompt));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }
}

function picture(address) {
  const image = new Image(SHAPE.width, SHAPE.height);
  image.loading = "lazy"; // before src: it is asked for as soon as that is set
  image.decoding = "async";
  image.alt = ""; // the name beside it says what it is
  image.src = address;
  return image;
}

function blank() {
  const place = document.createElement("span");
  place.className = "blank";
  return place;
}

function caption(name) {
  const words = document.createElement("span");
  words.textContent = name;
  return words;
}
