/** Views of both pictures, and the lines that say what is happening. Decides nothing. */
import { at, button, place, setText, video } from "./dom.js";

/**
 * @typedef {import("../protocol.js").Model} Model
 * @typedef {import("../stream/stream.js").Phase} Phase
 */

const UNTRAINED = "Untrained model (random weights): its pictures do not follow the prompt yet.";
const INVITATION = "Your camera goes in, a generated picture comes back.";

export class View {
  #at = {
    input: video("input"), output: video("output"), pictureWords: place("picture-words"),
    progress: at("progress", HTMLProgressElement),
    start: button("start"), stop: button("stop"), controls: at("live-controls", HTMLFieldSetElement),
    words: place("words"), rate: place("rate"), command: place("command"), problem: place("problem"),
    way: place("way"), model: place("model"), modelNote: place("model-note"), badges: place("badges"),
  };
  /** @type {Map<string, string>} */
  #badges = new Map();

  constructor() {
    this.#at.output.addEventListener("resize", () => this.#fitPicture());
    this.#at.output.addEventListener("playing", () => (document.body.dataset.picture = "on"));
    if (/Mac|iPhone|iPad/.test(navigator.platform)) place("prompt-modifier").textContent = "⌘";
  }

  /** What is happening now, in words. The phase also drives colours and which of Start and Stop is offered. @param {Phase} phase @param {string} words */
  phase(phase, words) {
    document.body.dataset.phase = phase;
    if (phase !== "live") this.#at.rate.textContent = "";
    setText(this.#at.words, words);
    setText(this.#at.pictureWords, phase === "idle" && words.startsWith("Ready") ? INVITATION : words);
    this.#at.controls.disabled = !["waiting", "live", "interrupted"].includes(phase);
    this.#progress(/(\d+) %/.exec(words)?.[1]);
    this.#offer(phase === "idle" ? "start" : "stop");
  }

  /** Frames per second beside "Live"; hidden from screen readers, which would read it every second. @param {number | null} fps */
  rate(fps) {
    this.#at.rate.textContent = fps === null ? "" : ` at ${formatFps(fps)} fps`;
  }

  /** Until the next try; as quiet as the rate. @param {number | null} seconds */
  countdown(seconds) {
    this.#at.rate.textContent = seconds === null ? "" : ` Next try in ${seconds} s.`;
  }

  /** The newest command's life; empty words take the line away. @param {Partial<import("../session/commands.js").Report>} report */
  command({ stage = "notice", words = "", label, chunk, frame, latencyMs }) {
    const line = this.#at.command;
    for (const name of Object.keys(line.dataset)) delete line.dataset[name];
    for (const [name, value] of Object.entries({ stage, label, chunk, frame, latencyMs })) {
      if (value !== undefined && value !== null) line.dataset[name] = String(value);
    }
    setText(line, !words || /[.!?]$/.test(words) ? words : `${words}.`);
  }

  /** What is wrong and what to do about it; empty words take the line away. @param {string} words */
  problem(words) {
    setText(this.#at.problem, words);
  }

  /** What is unusual about the way to the server; empty words take the line away. @param {string} words */
  way(words) {
    setText(this.#at.way, words);
  }

  /** A state that one must not forget, over the picture; null takes it away. @param {string} name @param {string | null} words */
  badge(name, words) {
    if ((this.#badges.get(name) ?? null) === words) return;
    if (words === null) this.#badges.delete(name);
    else this.#badges.set(name, words);
    this.#at.badges.replaceChildren(
      ...[...this.#badges].map(([badge, text]) => {
        const item = document.createElement("li");
        item.dataset.badge = badge;
        item.textContent = text;
        return item;
      }),
    );
  }

  /** Which model generates, from api/info or hello. @param {Model} model */
  model({ name, trained, about, width, height, depth, device }) {
    const { model, modelNote } = this.#at;
    setText(model, `${name} ${width} × ${height}, depth from ${depth}, on ${device}`);
    setText(modelNote, trained ? about : UNTRAINED);
    modelNote.dataset.trained = String(trained);
    if (!this.#at.output.videoWidth) shapeBox(width, height); // else the picture that is shown says more
  }

  /** The picture that is sent, or null when none is. @param {MediaStreamTrack | null} track */
  showSent(track) {
    const stream = this.#at.input.srcObject;
    if (!track) this.#at.input.srcObject = null;
    else if (!(stream instanceof MediaStream) || stream.getVideoTracks()[0] !== track) this.#at.input.srcObject = new MediaStream([track]);
    document.body.dataset.camera = track ? "on" : "off";
  }

  /** The picture from the server, or null when there is none. @param {MediaStream | null} stream */
  showOutput(stream) {
    this.#at.output.srcObject = stream;
    if (!stream) document.body.dataset.picture = "off";
  }

  /** @param {string | undefined} percent */
  #progress(percent) {
    this.#at.progress.hidden = percent === undefined;
    if (percent !== undefined) this.#at.progress.value = Number(percent);
  }

  /** @param {"start"|"stop"} name */
  #offer(name) {
    const { start, stop } = this.#at;
    const [shown, hidden] = name === "start" ? [start, stop] : [stop, start];
    if (!shown.hidden) return;
    const hadFocus = document.activeElement === hidden;
    shown.hidden = false;
    hidden.hidden = true;
    if (hadFocus) shown.focus(); // a hidden button would drop a keyboard user back to the top of the page
  }

  #fitPicture() {
    const { output } = this.#at;
    if (output.videoWidth) shapeBox(output.videoWidth, output.videoHeight);
  }
}

/** Where a picture is shown has its shape. @param {number} width @param {number} height */
function shapeBox(width, height) {
  document.body.style.setProperty("--ratio", String(width / height));
  document.body.dataset.shape = height > width ? "upright" : "wide";
}

/** @param {number} fps */
export function formatFps(fps) {
  return fps >= 9.95 ? fps.toFixed(0) : fps.toFixed(1);
}
