/** State of the server, limits and defaults (api/info), asked for every two seconds while nothing streams. */

import { NO_ANSWER, sentence } from "../server_text.js";

/**
 * @typedef {object} ServerInfo the answer of api/info
 * @property {boolean} ready
 * @property {string} reason why not, in plain words
 * @property {import("../protocol.js").Model | null} model
 * @property {import("../protocol.js").Look[]} looks
 * @property {string} default_prompt
 * @property {number} max_fps a camera need give no more
 * @property {number} sessions
 * @property {number} max_sessions
 * @property {RTCIceServer[]} ice_servers
 * @property {boolean} [leads_sockets] of a gateway: a WebSocket for pictures goes to a worker, which it names
 * @property {import("../protocol.js").Limits} limits
 * @property {import("../protocol.js").Defaults} defaults
 */

const UNAUTHORIZED = 401;
const PERIOD_MS = 2000;
const ANSWER_LIMIT_MS = 4000; // a network that is gone says nothing, and a new connection waits for this

export class ServerInfoPoller {
  #isIdle;
  #onInfo;
  #onIdle;
  #onLocked;
  /** @type {ServerInfo | null} the last that it told */
  #info = null;

  /**
   * @param {() => boolean} isIdle a stream tells by itself how its server is
   * @param {(info: ServerInfo) => void} onInfo
   * @param {(info: ServerInfo | null) => void} onIdle null: it does not answer
   * @param {() => void} onLocked it asks for a token
   */
  constructor(isIdle, onInfo, onIdle, onLocked) {
    this.#isIdle = isIdle;
    this.#onInfo = onInfo;
    this.#onIdle = onIdle;
    this.#onLocked = onLocked;
  }

  /** Pictures a second that a camera is to give, 0 until it is known. */
  get maxFps() {
    return this.#info?.max_fps ?? 0;
  }

  /** Of the model that runs, "" until it is known. */
  get modelName() {
    return this.#info?.model?.name ?? "";
  }

  begin() {
    const ask = () => this.#isIdle() && this.ask();
    void ask();
    setInterval(ask, PERIOD_MS);
  }

  /** Also while something streams. @returns {Promise<ServerInfo | null>} what it says; if it is silent, what it last said */
  async ask() {
    /** @type {ServerInfo | null} */
    let told = null;
    try {
      const response = await fetch("api/info", { signal: AbortSignal.timeout(ANSWER_LIMIT_MS) });
      if (response.status === UNAUTHORIZED) {
        this.#onLocked();
        return this.#info;
      }
      told = await response.json();
    } catch {} // told by the null
    if (told) this.#onInfo((this.#info = told));
    if (this.#isIdle()) this.#onIdle(told);
    return this.#info;
  }
}

/** @param {ServerInfo | null} info @returns {{words: string, problem: string}} */
export function describe(info) {
  if (!info) return { words: "No server.", problem: NO_ANSWER };
  if (!info.ready && /failed|could not/i.test(info.reason)) {
    return { words: "The server has no model.", problem: sentence(info.reason) };
  }
  if (!info.ready) return { words: `Not ready yet. ${sentence(info.reason)}`, problem: "" };
  if (info.sessions >= info.max_sessions) return { words: "The server is full: you may have to wait for a place.", problem: "" };
  return { words: "Ready. Press Start to send your camera.", problem: "" };
}
