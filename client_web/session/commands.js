/**
 * Commands under way, each from sent to acknowledged to applied (or superseded, refused, unanswered).
 * Every stage is reported once, so that nobody has to guess whether a command arrived.
 *
 * @typedef {import("../protocol.js").Request} Request
 * @typedef {import("../protocol.js").ServerMessage} ServerMessage
 * @typedef {"sent"|"acknowledged"|"applied"|"superseded"|"refused"|"unanswered"|"notice"} Stage
 * @typedef {{label: string, stage: Stage, words: string, type?: string, chunk?: number|null, frame?: number|null, latencyMs?: number, tookMs?: number}} Report
 *   `latencyMs` as the server measured it, `tookMs` from the send to the news of it, here
 */

const ANSWER_LIMIT_MS = 5000;

export class Commands {
  #stream;
  #report;
  /** @type {Map<string, {type: string, label: string, timer: number, sent: number, onAnswer?: () => void}>} */
  #open = new Map();

  /**
   * @param {{send: (message: Request) => boolean}} stream
   * @param {(report: Report) => void} report
   */
  constructor(stream, report) {
    this.#stream = stream;
    this.#report = report;
  }

  /**
   * Sends one command.
   * @param {Request} message
   * @param {string} label what the person calls it, e.g. "Prompt"
   * @param {() => void} [onAnswer] the server has it, or has refused it
   * @returns {boolean} sent
   */
  issue(message, label, onAnswer) {
    if (!this.#stream.send(message)) return false;
    const { id, type } = message;
    const timer = window.setTimeout(() => this.#finish(id, "unanswered", "not answered by the server"), ANSWER_LIMIT_MS);
    this.#open.set(id, { type, label, timer, sent: performance.now(), onAnswer });
    this.#report({ label, type, stage: "sent", words: `${label} sent` });
    return true;
  }

  /** Whether one of this type is under way: then what the server says of it may be older. @param {string} type */
  isOpen(type) {
    return [...this.#open.values()].some((command) => command.type === type);
  }

  /** Takes the server's messages about commands; true when `message` was one. @param {ServerMessage} message */
  receive(message) {
    switch (message.type) {
      case "ack": this.#acknowledge(message.id); return true;
      case "applied": this.#applied(message); return true;
      case "superseded": this.#finish(message.id, "superseded", "replaced by a newer one"); return true;
      case "error": this.#refused(message); return true;
    }
    return false;
  }

  /** The connection is gone: nothing that is still open will be answered. */
  clear() {
    for (const { timer } of this.#open.values()) clearTimeout(timer);
    this.#open.clear();
  }

  /** @param {string} id */
  #acknowledge(id) {
    const command = this.#open.get(id);
    if (!command) return;
    clearTimeout(command.timer);
    command.onAnswer?.();
    this.#report({ label: command.label, type: command.type, stage: "acknowledged", words: `${command.label} acknowledged` });
  }

  /** @param {ServerMessage} message */
  #applied({ id, chunk, frame, latency_ms: latencyMs }) {
    const where = typeof chunk === "number" ? ` at chunk ${chunk}, frame ${frame},` : "";
    this.#finish(id, "applied", `applied${where} after ${Math.round(latencyMs)} ms`, { chunk, frame, latencyMs });
  }

  /** @param {ServerMessage} message */
  #refused({ id, message }) {
    if (this.#open.has(id)) this.#finish(id, "refused", `refused: ${message}`);
    else this.#report({ label: "", stage: "refused", words: `The server reports: ${message}` });
  }

  /** @param {string} id @param {Stage} stage @param {string} words @param {Partial<Report>} figures */
  #finish(id, stage, words, figures = {}) {
    const command = this.#open.get(id);
    if (!command) return;
    clearTimeout(command.timer);
    this.#open.delete(id);
    if (stage !== "unanswered") command.onAnswer?.();
    // a command that a newer one overtook is old news: the newer one's own line follows
    if (stage === "superseded") return;
    const { label, type, sent } = command;
    this.#report({ label, type, stage, words: `${label} ${words}`, tookMs: performance.now() - sent, ...figures });
  }
}
