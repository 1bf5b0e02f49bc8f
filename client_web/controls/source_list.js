/** Sources to choose from: each camera, a screen, a video file, the sample. One list, and what is dropped. */
import { listCameras, watchCameras } from "../stream/camera.js";
import { canShare } from "../stream/screen.js";
import { at, button, input, make, place, press, setText } from "../page/dom.js";
import { keep, kept } from "../page/storage.js";

/**
 * @typedef {import("../stream/source.js").Choice} Choice
 * @typedef {import("../stream/source.js").Source} Source
 */

const NOTHING = "Choose a source";
/** @type {Record<Choice["kind"], string>} */
const NAMES = { camera: "Default camera", screen: "Screen or window", file: "Video file", sample: "Moving sample" };
/** @type {Record<Choice["kind"], string>} */
const CAPTIONS = { camera: "Camera", screen: "Screen", file: "Video", sample: "Sample" };
/** @type {Record<Choice["kind"], string>} */
const ENDED = {
  camera: "The camera was disconnected. Choose another one.",
  screen: "Sharing has ended. Choose what to send next.",
  file: "The video can be read no more. Choose another source.",
  sample: "The sample can be read no more. Choose another source.",
};

/** @param {File} file */
export const isVideo = (file) => file.type.startsWith("video/");

export class SourceList {
  #box = at("sources", HTMLDetailsElement);
  #chosen;
  #file = input("source-file");
  #sample = button("try-sample");
  /** @type {{id: string, label: string}[]} */
  #cameras = [];

  /** What is to be sent; null after it has ended. @type {Choice | null} */
  choice = { kind: "camera", id: "" };

  /**
   * @param {(name: string) => void} chosen by the person
   * @param {() => void} start what the button for the sample does, once that is chosen
   */
  constructor(chosen, start) {
    this.#chosen = chosen;
    this.#file.addEventListener("change", () => {
      this.#take([...(this.#file.files ?? [])]);
      this.#file.value = ""; // the same file may be chosen again
    });
    this.#box.addEventListener("keydown", (event) => event.key === "Escape" && this.#close());
    document.addEventListener("pointerdown", (event) => {
      if (event.target instanceof Node && !this.#box.contains(event.target)) this.#box.open = false;
    });
    this.#box.addEventListener("toggle", () => this.#box.open && place("source-list").scrollIntoView({ block: "nearest" }));
    document.addEventListener("drop", (event) => this.#take([...(event.dataTransfer?.files ?? [])])); // prevented by references.js
    this.#sample.addEventListener("click", () => {
      this.choice = { kind: "sample" };
      this.#show();
      start();
      button("stop").focus(); // the button that was pressed is gone
    });
    this.#sample.hidden = kept("started", false) === true;
    watchCameras(() => void this.#refresh());
    void this.#refresh();
  }

  /** A source is sent: the list says which, and knows the names of cameras once one was allowed. @param {Source} source */
  show({ choice, track }) {
    this.choice = choice.kind === "camera" ? { kind: "camera", id: track.getSettings().deviceId ?? choice.id } : choice;
    this.#show();
    void this.#refresh();
  }

  /** What was sent has ended by itself. @returns {string} what to do */
  ended() {
    const kind = this.choice?.kind ?? "camera";
    if (kind !== "camera") this.choice = null; // a camera may be plugged in again
    this.#show();
    return ENDED[kind];
  }

  /** @param {import("../stream/stream.js").Phase} phase */
  phase(phase) {
    if (phase !== "live") return;
    keep("started", true); // whoever has seen it once knows the list
    this.#sample.hidden = true;
  }

  /** What was chosen cannot be had. */
  offerSample() {
    this.#sample.hidden = false;
  }

  async #refresh() {
    this.#cameras = await listCameras();
    this.#show();
  }

  /** @param {Choice} choice */
  #choose(choice) {
    this.#close();
    this.choice = choice;
    this.#show();
    this.#chosen(this.#name(choice));
  }

  /** @param {File[]} files */
  #take(files) {
    const file = files.find(isVideo);
    if (file) this.#choose({ kind: "file", file });
  }

  #close() {
    if (this.#box.open) this.#box.querySelector("summary")?.focus();
    this.#box.open = false;
  }

  #show() {
    /** @type {Choice[]} */
    const cameras = this.#cameras.length ? this.#cameras.map(({ id }) => ({ kind: "camera", id })) : [{ kind: "camera", id: "" }];
    /** @type {Choice[]} */
    const others = [{ kind: "screen" }, { kind: "file", file: this.choice?.file }, { kind: "sample" }];
    const choices = [...cameras, ...others.filter(({ kind }) => kind !== "screen" || canShare())];
    place("source-list").replaceChildren(...choices.map((choice) => make("li", {}, this.#item(choice))));
    setText(place("source-name"), this.choice ? this.#name(this.choice) : NOTHING);
    setText(place("source-caption"), CAPTIONS[this.choice?.kind ?? "camera"]);
  }

  /** @param {Choice} choice */
  #item(choice) {
    const item = make("button", { type: "button" }, this.#name(choice));
    press(item, this.choice?.kind === choice.kind && (choice.kind !== "camera" || this.choice.id === choice.id));
    item.addEventListener("click", () => {
      if (choice.kind !== "file") return this.#choose(choice);
      this.#close();
      this.#file.click();
    });
    return item;
  }

  /** @param {Choice} choice */
  #name({ kind, id, file }) {
    if (file) return `${NAMES.file}: ${file.name}`;
    return this.#cameras.find((camera) => kind === "camera" && camera.id === id)?.label ?? NAMES[kind];
  }
}
