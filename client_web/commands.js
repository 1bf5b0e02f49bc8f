/**
 * The life of a command: sent, acknowledged, applied (or superseded, refused, unanswered).
 * Every stage is reported once, so nothing a performer does is fire-and-forget.
 */

const ANSWER_LIMIT_MS = 5000;

export class Commands {
  #send;
  #report;
  #open = new Map(); // id -> {label, timer}

  /**
   * @param {(message: object) => boolean} send false: not sent
   * @param {(report: {label: string, stage: string, words: string, [figure: string]: any}) => void} report
   */
  constructor(send, report) {
    this.#send = send;
    this.#report = report;
  }

  /** Sends one command. @param {string} label what the person calls it, e.g. "Prompt" @returns {boolean} sent */
  issue(message, label) {
    if (!this.#send(message)) return false;
    const timer = setTimeout(() => this.#finish(message.id, "unanswered", "not answered by the server"), ANSWER_LIMIT_MS);
    this.#open.set(message.id, { label, timer });
    this.#report({ label, stage: "sent", words: `${label} sent` });
    return true;
  }

  /** Takes the server's messages about commands; true when `message` was one. */
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

  #acknowledge(id) {
    const command = this.#open.get(id);
    if (!command) return;
    clearTimeout(command.timer);
    this.#report({ label: command.label, stage: "acknowledged", words: `${command.label} acknowledged` });
  }

  #applied({ id, chunk, frame, latency_ms: latencyMs }) {
    const words = `applied at chunk ${chunk}, frame ${frame}, after ${Math.round(latencyMs)} ms`;
    this.#finish(id, "applied", words, { chunk, frame, latencyMs });
  }

  #refused({ id, message }) {
    if (this.#open.has(id)) this.#finish(id, "refused", `refused: ${message}`);
    else this.#report({ label: "", stage: "refused", words: `The server reports: ${message}` });
  }

  #finish(id, stage, words, figures = {}) {
    const command = this.#open.get(id);
    if (!command) return;
    clearTimeout(command.timer);
    this.#open.delete(id);
    // a command that a newer one overtook is old news: the newer one's own line follows
    if (stage !== "superseded") this.#report({ label: command.label, stage, words: `${command.label} ${words}`, ...figures });
  }
}
