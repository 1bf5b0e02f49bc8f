/** Buttons under the picture: pause, freeze, snapshot, record, reset. */
import { pause, reset, resume, setFreeze, startRecording, stopRecording } from "../protocol.js";
import { button, input, isPressed, make, place, press, setText } from "../page/dom.js";
import { save } from "./pictures.js";

const MOST_RECORDINGS = 3;

/**
 * @typedef {object} Parts
 * @property {import("../session/desired_state.js").DesiredState} desired
 * @property {import("../session/session_http.js").SessionHttp} http
 * @property {import("../session/commands.js").Commands} commands
 * @property {import("../page/view.js").View} view
 * @property {(isHeld: boolean) => void} showHeld stops the picture on every screen, at once
 */

export class StreamButtons {
  #parts;
  /** @type {{href: string, name: string, seconds: number, bytes: number} | null} what is being recorded */
  #running = null;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    button("pause").addEventListener("click", () => this.pause(!isPressed(button("pause"))));
    button("freeze").addEventListener("click", () => this.freeze(!isPressed(button("freeze"))));
    button("record").addEventListener("click", () => this.record(!isPressed(button("record"))));
    button("snapshot").addEventListener("click", () => void this.#snapshot());
    button("reset").addEventListener("click", () => this.#parts.desired.once("Reset", reset()));
  }

  /** Still at once here, whatever the way to the server takes: someone may need that. @param {boolean} isOn */
  pause(isOn) {
    const { desired } = this.#parts;
    this.#showPause(isOn);
    if (isOn) desired.set("pause", "Pause", pause);
    else desired.undo("pause", "Resume", resume);
  }

  /** @param {boolean} isOn */
  freeze(isOn) {
    const { desired } = this.#parts;
    this.#showFreeze(isOn);
    if (isOn) desired.set("freeze", "Freeze", () => setFreeze(true));
    else desired.undo("freeze", "Freeze off", () => setFreeze(false));
  }

  /** @param {boolean} isOn */
  record(isOn) {
    const { desired } = this.#parts;
    press(button("record"), isOn);
    const isSideBySide = input("record-side").checked;
    if (isOn) desired.set("record", "Recording", () => startRecording(isSideBySide)); // a lost connection begins another file
    else desired.undo("record", "End of recording", stopRecording);
  }

  /** What the server says of pause, freeze and recording. @param {{paused: boolean, frozen: boolean, recording: boolean}} settings */
  show({ paused, frozen, recording }) {
    const { commands } = this.#parts;
    if (!commands.isOpen("pause") && !commands.isOpen("resume")) this.#showPause(paused);
    if (!commands.isOpen("freeze.set")) this.#showFreeze(frozen);
    if (!commands.isOpen("record.start") && !commands.isOpen("record.stop")) press(button("record"), recording);
  }

  /** One `recording` message. @param {import("../protocol.js").ServerMessage} message */
  recording({ state, name, seconds, bytes, detail }) {
    const { view, desired, http } = this.#parts;
    const isOn = state === "recording";
    const told = { href: http.recording(name), name, seconds, bytes };
    this.#running = isOn ? told : null;
    view.badge("recording", isOn ? `● ${clock(seconds)}` : null);
    press(button("record"), isOn);
    if (isOn) return;
    desired.forget("record");
    if (state === "failed") view.command({ stage: "refused", words: `The recording failed: ${detail}` });
    else offer(told);
  }

  /** The session that was recorded is over, and with it the recording: what there is can be had. */
  sessionOver() {
    if (this.#running) offer(this.#running);
    this.#running = null;
  }

  /** Stopped by the person: the next start begins without what belonged to this one. */
  stopped() {
    this.sessionOver();
    for (const kind of ["record", "pause", "freeze"]) this.#parts.desired.forget(kind);
    this.clear();
  }

  /** The connection is gone, for now or for good. */
  clear() {
    this.#parts.view.badge("recording", null);
    if (!this.#parts.desired.has("record")) press(button("record"), false);
    if (!this.#parts.desired.has("pause")) this.#showPause(false);
    if (!this.#parts.desired.has("freeze")) this.#showFreeze(false);
  }

  async #snapshot() {
    const { http, view } = this.#parts;
    try {
      const picture = await http.snapshot();
      const name = `depthlive-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.png`;
      save(picture, name);
      view.command({ stage: "notice", words: `Snapshot saved as ${name}` });
    } catch (error) {
      view.command({ stage: "refused", words: `Snapshot: ${error instanceof Error ? error.message : error}` });
    }
  }

  /** @param {boolean} isOn */
  #showPause(isOn) {
    const key = button("pause");
    if (isPressed(key) === isOn) return;
    press(key, isOn);
    setText(key, isOn ? "Resume" : "Pause");
    this.#parts.view.badge("paused", isOn ? "Paused" : null);
    this.#parts.showHeld(isOn);
  }

  /** @param {boolean} isOn */
  #showFreeze(isOn) {
    press(button("freeze"), isOn);
    this.#parts.view.badge("frozen", isOn ? "Camera frozen" : null);
  }
}

/** @param {{href: string, name: string, seconds: number, bytes: number}} recording */
function offer({ href, name, seconds, bytes }) {
  const link = make("a", { href, download: `depthlive-${name}` }, "Download the recording");
  place("recordings").prepend(make("li", {}, link, ` ${clock(seconds)}, ${size(bytes)}`));
  while (place("recordings").children.length > MOST_RECORDINGS) place("recordings").lastElementChild?.remove();
}

/** @param {number} bytes */
function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** 75 -> "1:15". @param {number} seconds */
function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}
