/**
 * What the person has set, kept here whatever becomes of the connection: sent at once where there is a stream, again
 * to the same session when it comes back and has not acknowledged it, and again, in the order in which it was first
 * set, to every new one.
 *
 * @typedef {import("../protocol.js").Request} Request
 * @typedef {() => Request | Promise<Request>} Build a fresh message each time: ids are used once, uploads are per session
 * @typedef {object} Wish
 * @property {string} label as the person calls it
 * @property {Build} build
 * @property {boolean} isUndo it takes back one of its kind: a new session never had that, and needs no telling
 * @property {boolean} isKnown the session has acknowledged or refused it; that it was sent says nothing, while a
 *   connection that is gone still looks open
 */

export const KEPT = "kept, and sent when the stream starts";

export class Wishes {
  #commands;
  #http;
  #notice;
  /** @type {Map<string, Wish>} */
  #kept = new Map();
  /** @type {Map<string, number>} which build of a kind is the newest: an older upload must not win */
  #turns = new Map();

  /**
   * @param {{issue: (message: Request, label: string, onAnswer?: () => void) => boolean}} commands
   * @param {{id: string | null}} http its session is the one to send to
   * @param {(words: string) => void} notice says why something was not sent
   */
  constructor(commands, http, notice) {
    this.#commands = commands;
    this.#http = http;
    this.#notice = notice;
  }

  /** @param {string} kind the newest of a kind counts @param {string} label as the person calls it @param {Build} build */
  set(kind, label, build, isUndo = false) {
    const wish = { label, build, isUndo, isKnown: false };
    this.#kept.set(kind, wish);
    if (this.#http.id !== null) void this.#send(kind, wish);
    else if (!isUndo) this.#notice(`${label}: ${KEPT}`);
  }

  /** Take back what was set: the session that has it is told, now or when it is there again. @param {string} kind @param {string} label @param {Build} build */
  undo(kind, label, build) {
    this.set(kind, label, build, true);
  }

  /** Something that belongs to this moment alone, such as a reset. @param {string} label @param {Request} message */
  once(label, message) {
    if (!this.#commands.issue(message, label)) this.#notice(`${label}: there is no stream yet`);
  }

  /** It shall be as the server has it. @param {string} kind */
  forget(kind) {
    this.#kept.delete(kind);
  }

  /** @param {string} kind */
  has(kind) {
    return this.#kept.get(kind)?.isUndo === false;
  }

  /** A stream has begun. @param {boolean} isResumed it is the one from before, which remembers what it has acknowledged */
  replay(isResumed) {
    for (const [kind, wish] of this.#kept) {
      if (wish.isUndo && !isResumed) this.#kept.delete(kind);
      else if (!isResumed || !wish.isKnown) void this.#send(kind, wish);
    }
  }

  /** @param {string} kind @param {Wish} wish */
  async #send(kind, wish) {
    const turn = (this.#turns.get(kind) ?? 0) + 1;
    this.#turns.set(kind, turn);
    wish.isKnown = false;
    try {
      const built = wish.build();
      const message = built instanceof Promise ? await built : built; // what needs no upload goes out in order
      if (this.#turns.get(kind) === turn) this.#commands.issue(message, wish.label, () => this.#answered(kind, wish));
    } catch (error) {
      if (this.#turns.get(kind) === turn) this.#notice(`${wish.label}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** @param {string} kind @param {Wish} wish */
  #answered(kind, wish) {
    wish.isKnown = true;
    if (wish.isUndo && this.#kept.get(kind) === wish) this.#kept.delete(kind);
  }
}
