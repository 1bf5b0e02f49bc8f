/** Reference pictures: dropped, pasted, chosen, or taken from the camera. */
import { setReferences } from "../protocol.js";
import { button, input, make, place, setText, video } from "../page/dom.js";
import { limit } from "../page/limits.js";
import { decodePicture, encoded, frameOf } from "./pictures.js";
import { isVideo } from "./source_list.js";

/** @typedef {{canvas: HTMLCanvasElement, ids: Map<string, Promise<string>>}} Reference `ids`: of the upload, by session */

export class References {
  #desired;
  #http;
  #others;
  /** @type {Reference[]} */
  #references = [];

  /**
   * @param {import("../session/desired_state.js").DesiredState} desired
   * @param {import("../session/session_http.js").SessionHttp} http
   * @param {(files: File[]) => Promise<File[]>} others takes dropped files that are no references out; gives the rest
   */
  constructor(desired, http, others) {
    this.#desired = desired;
    this.#http = http;
    this.#others = others;
    const file = input("reference-file");
    button("reference-choose").addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      void this.#addFiles([...(file.files ?? [])]);
      file.value = ""; // the same file may be chosen again
    });
    button("reference-camera").addEventListener("click", () => this.#guard(async () => this.#add([frameOf(video("input"))])));
    button("reference-clear").addEventListener("click", () => this.#change([]));
    document.addEventListener("paste", (event) => void this.#addFiles(filesOf(event.clipboardData), event));
    this.#watchDrops();
    this.show();
  }

  /** @param {File[]} files @param {Event} [event] what brought them; it stops here if there is a picture among them */
  async #addFiles(files, event) {
    const pictures = files.filter((file) => file.type.startsWith("image/"));
    if (!pictures.length) {
      if (files.some((file) => !isVideo(file))) setText(place("reference-words"), "Only pictures can be references.");
      return;
    }
    event?.preventDefault();
    await this.#guard(async () => this.#add(await Promise.all(pictures.map(decodePicture))));
  }

  /** @param {HTMLCanvasElement[]} canvases */
  #add(canvases) {
    const added = canvases.map((canvas) => ({ canvas, ids: new Map() }));
    this.#change([...this.#references, ...added].slice(-limit("references"))); // the oldest gives way
  }

  /** @param {Reference[]} references */
  #change(references) {
    this.#references = references;
    setText(place("reference-words"), "");
    this.show();
    if (!references.length) return this.#desired.undo("references", "References", () => setReferences([]));
    this.#desired.set("references", "References", async () => setReferences(await Promise.all(references.map((one) => this.#upload(one)))));
  }

  /** Once for each session. @param {Reference} reference @returns {Promise<string>} */
  #upload({ canvas, ids }) {
    const session = this.#http.id ?? "";
    const known = ids.get(session);
    if (known) return known;
    const upload = encoded(canvas).then((blob) => this.#http.upload(blob));
    ids.set(session, upload);
    upload.catch(() => ids.delete(session)); // so that it can be tried again
    return upload;
  }

  /** A place for each that the server takes. */
  show() {
    const most = limit("references");
    const slots = Array.from({ length: Number.isFinite(most) ? most : this.#references.length }, (_, index) => {
      const reference = this.#references[index];
      if (!reference) return make("li", {});
      const remove = make("button", { type: "button", title: `Remove reference ${index + 1}` }, "×");
      remove.setAttribute("aria-label", `Remove reference ${index + 1}`);
      remove.addEventListener("click", () => this.#change(this.#references.filter((one) => one !== reference)));
      reference.canvas.setAttribute("role", "img");
      reference.canvas.setAttribute("aria-label", `Reference ${index + 1}`);
      const slot = make("li", {}, reference.canvas, remove);
      slot.dataset.state = "held";
      return slot;
    });
    place("references").replaceChildren(...slots);
    button("reference-clear").disabled = this.#references.length === 0;
  }

  #watchDrops() {
    const mark = (/** @type {boolean} */ isOver) => (document.body.dataset.drop = isOver ? "on" : "off");
    document.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault(); // else the browser would open the picture in place of this page
      mark(true);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && mark(false));
    document.addEventListener("drop", (event) => {
      mark(false);
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      void this.#others(filesOf(event.dataTransfer)).then((files) => this.#addFiles(files));
    });
  }

  /** @param {() => Promise<void>} work */
  async #guard(work) {
    try {
      await work();
    } catch (error) {
      setText(place("reference-words"), error instanceof Error ? error.message : String(error));
    }
  }
}

/** @param {DataTransfer | null} transfer */
function filesOf(transfer) {
  return [...(transfer?.files ?? [])];
}
