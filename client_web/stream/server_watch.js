/** While nothing streams: is the server there, ready and free? Asked every two seconds. */

import { plainly } from "./words.js";

/**
 * @typedef {object} ServerInfo the answer of api/info
 * @property {boolean} ready
 * @property {string} reason why not, in plain words
 * @property {import("../page/view.js").Model | null} model
 * @property {{name: string, prompt: string, thumbnail: string | null}[]} looks
 * @property {string} default_prompt
 * @property {number} sessions
 * @property {number} max_sessions
 * @property {RTCIceServer[]} ice_servers
 */

const PERIOD_MS = 2000;

export class ServerWatch {
  #isIdle;
  #onAnswer;
  /** @type {ServerInfo | null} the last answer */
  info = null;

  /**
   * @param {() => boolean} isIdle a stream tells by itself how its server is
   * @param {(info: ServerInfo | null) => void} onAnswer null: it does not answer
   */
  constructor(isIdle, onAnswer) {
    this.#isIdle = isIdle;
    this.#onAnswer = onAnswer;
  }

  begin() {
    void this.#ask();
    setInterval(() => this.#ask(), PERIOD_MS);
  }

  async #ask() {
    if (!this.#isIdle()) return;
    try {
      this.info = await (await fetch("api/info")).json();
    } catch {
      this.info = null;
    }
    if (this.#isIdle()) this.#onAnswer(this.info);
  }
}

/** @param {ServerInfo | null} info @returns {{words: string, problem: string}} */
export function describe(info) {
  if (!info) return { words: "No server.", problem: "The server does not answer. Check that it is still running." };
  if (!info.ready && /failed|could not/i.test(info.reason)) {
    return { words: "The server has no model.", problem: plainly(info.reason) };
  }
  if (!info.ready) return { words: `Not ready yet. ${plainly(info.reason)}`, problem: "" };
  if (info.sessions >= info.max_sessions) return { words: "The server is full: you may have to wait for a place.", problem: "" };
  return { words: "Ready. Press Start to send your camera.", problem: "" };
}
