/**
 * Liveness of one connection, whatever carries it: the server is asked every two seconds, and anything that it says
 * counts. Interruption, restoration and loss are told once each, and nothing is told after the end.
 */
import { ProtocolError, decode } from "../../protocol.js";
import { isGone } from "./session_request.js";

/**
 * @typedef {import("../../protocol.js").ServerMessage} ServerMessage
 * @typedef {object} Handlers
 * @property {(stream: MediaStream) => void} onTrack
 * @property {(stream: MediaStream) => void} onSound what the server returns, if it takes sound
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(message: ServerMessage) => void} onTelemetry
 * @property {() => void} onInterrupted
 * @property {() => void} onRestored
 * @property {(reason: string, fate: Fate) => void} onLost
 *
 * @typedef {"blocked"|"over"|"lost"} Fate blocked: no media comes through this way, the session waits for another one;
 *   over: the server has ended the session; lost: the server may be keeping it for a while
 */

const PERIOD_MS = 2000;
const DOUBTED_MS = 2000; // telemetry comes twice a second
const NOTICED_MS = 6000;
const LOST_MS = 12000;

export const LOST = "The connection to the server was lost.";

export class Liveness {
  #handlers;
  #ping;
  #stop;
  #hangUp;
  #session;
  #timer = 0;
  #lastHeard = 0;
  #isInterrupted = false;
  #isAsking = false;
  #hasEnded = false;

  /**
   * @param {Handlers} handlers
   * @param {() => void} ping
   * @param {() => void} stop called once, at the end: what runs by itself stops
   * @param {() => void} hangUp the transport is closed, but not the session: whoever comes back may take it up again
   * @param {() => string | null} session its id at the server; null as long as that is not known
   */
  constructor(handlers, ping, stop, hangUp, session) {
    this.#handlers = handlers;
    this.#ping = ping;
    this.#stop = stop;
    this.#hangUp = hangUp;
    this.#session = session;
  }

  get hasEnded() {
    return this.#hasEnded;
  }

  begin() {
    if (this.#hasEnded) return;
    this.#lastHeard = performance.now();
    this.#ping();
    this.#timer = window.setInterval(() => this.#check(), PERIOD_MS);
  }

  heard() {
    this.#lastHeard = performance.now();
    this.restored();
  }

  /** As heard(). @param {string} data @returns {ServerMessage | null} null: nothing that this page can read, or it is too late */
  read(data) {
    if (this.#hasEnded) return null;
    this.heard();
    try {
      return decode(data);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      console.warn("message from the server ignored:", error.message);
      return null;
    }
  }

  interrupted() {
    if (this.#hasEnded || this.#isInterrupted) return;
    this.#isInterrupted = true;
    this.#handlers.onInterrupted();
  }

  restored() {
    if (this.#hasEnded || !this.#isInterrupted) return;
    this.#isInterrupted = false;
    this.#handlers.onRestored();
  }

  /** @param {string} reason @param {Fate} fate */
  lose(reason = LOST, fate = "lost") {
    if (this.#hasEnded) return;
    this.end();
    this.#handlers.onLost(reason, fate); // first, while the last picture can still be read
    this.#hangUp();
  }

  /** Safe to call twice. */
  end() {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearInterval(this.#timer);
    this.#stop();
  }

  get #silenceMs() {
    return performance.now() - this.#lastHeard;
  }

  #check() {
    this.#ping();
    if (this.#silenceMs > LOST_MS) return this.lose();
    if (this.#silenceMs > NOTICED_MS) this.interrupted();
    if (this.#silenceMs >= DOUBTED_MS) void this.#doubt();
  }

  /** A gateway knows at once that the process is gone which this connection leads to: no silence tells why it is silent. */
  async #doubt() {
    const session = this.#session();
    if (!session || this.#isAsking) return;
    this.#isAsking = true;
    const isLost = await isGone(session);
    this.#isAsking = false;
    if (isLost && this.#silenceMs >= DOUBTED_MS) this.lose();
  }
}
