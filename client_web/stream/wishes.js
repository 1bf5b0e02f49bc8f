/**
 * What the person has set, kept here whatever becomes of the connection: sent at once where there is a stream, and
 * again, in the order in which it was first set, to every new one.
 *
 * @typedef {import("../protocol.js").Request} Request
 * @typedef {() => Request | Promise<Request>} Build a fresh message each time: ids are used once, uploads are per session
 */

export const KEPT = "kept, and sent when the stream starts";

export class Wishes {
  #issue;
  #isLive;
  #notice;
  /** @type {Map<string, {label: string, build: Build}>} */
  #kept = new Map();
  /** @type {Set<string>} kinds that no stream has been sent yet */
  #unsent = new Set();
  /** @type {Map<string, number>} which build of a kind is the newest: an older upload must not win */
  #turns = new Map();

  /**
   * @param {(message: Request, label: string) => boolean} issue false: not sent
   * @param {() => boolean} isLive whether there is a stream to send to
   * @param {(words: string) => void} notice says why something was not sent
   */
  constructor(issue, isLive, notice) {
    this.#issue = issue;
    this.#isLive = isLive;
    this.#notice = notice;
  }

  /** @param {string} kind the newest of a kind counts @param {string} label as the person calls it @param {Build} build */
  set(kind, label, build) {
    this.#kept.set(kind, { label, build });
    this.#unsent.add(kind);
    if (this.#isLive()) void this.#send(kind);
    else this.#notice(`${label}: ${KEPT}`);
  }

  /** Something that belongs to this moment alone, such as a reset. @param {string} label @param {Request} message */
  once(label, message) {
    if (!this.#issue(message, label)) this.#notice(`${label}: there is no stream yet`);
  }

  /** It shall be as the server has it. @param {string} kind */
  forget(kind) {
    this.#kept.delete(kind);
  }

  /** @param {string} kind */
  has(kind) {
    return this.#kept.has(kind);
  }

  /** A stream has begun. @param {boolean} isResumed it is the one from before, which remembers what it was sent */
  replay(isResumed) {
    for (const kind of this.#kept.keys()) if (!isResumed || this.#unsent.has(kind)) void this.#send(kind);
  }

  /** @param {string} kind */
  async #send(kind) {
    const wish = this.#kept.get(kind);
    if (!wish) return;
    const turn = (this.#turns.get(kind) ?? 0) + 1;
    this.#turns.set(kind, turn);
    try {
      const built = wish.build();
      const message = built instanceof Promise ? await built : built; // what needs no upload goes out in order
      if (this.#turns.get(kind) === turn && this.#issue(message, wish.label)) this.#unsent.delete(kind);
    } catch (error) {
      if (this.#turns.get(kind) === turn) this.#notice(`${wish.label}: ${error instanceof Error ? error.message : error}`);
    }
  }
}
