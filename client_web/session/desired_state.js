/**
 * Desired state: what the person has set, kept here whatever becomes of the connection. It is sent at once where there
 * is a stream, again to the same session when that comes back and has not acknowledged it, and again, in the order in
 * which it was first set, to every new one.
 *
 * @typedef {import("../protocol.js").Request} Request
 * @typedef {() => Request | Promise<Request>} Build a fresh message each time: ids are used once, uploads are per session
 * @typedef {object} Entry
 * @property {string} label as the person calls it
 * @property {Build} build
 * @property {boolean} isUndo it takes back one of its kind: a new session never had that, and needs no telling
 * @property {boolean} isKnown the session has acknowledged or refused it; that it was sent says nothing, while a
 *   connection that is gone still looks open
 */

export const KEPT = "kept, and sent when the stream starts";

export class DesiredState {
  #commands;
  #http;
  #notice;
  /** @type {Map<string, Entry>} */
  #kept = new Map();
  /** @type {Map<string, number>} number of the newest build of a kind: an older upload must not win */
  #builds = new Map();

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

  /**
   * @param {string} kind the newest of a kind counts
   * @param {string} label as the person calls it
   * @param {Build} build
   * @param {boolean} isUndo see undo()
   */
  set(kind, label, build, isUndo = false) {
    const entry = { label, build, isUndo, isKnown: false };
    this.#kept.set(kind, entry);
    if (this.#http.id !== null) void this.#send(kind, entry);
    else if (!isUndo) this.#notice(`${label}: ${KEPT}`);
  }

  /** As `set`, for kinds of which one changes what another has set: a new session is sent them in the order of now. @param {string} kind @param {string} label @param {Build} build */
  setLast(kind, label, build) {
    this.#kept.delete(kind);
    this.set(kind, label, build);
  }

  /** Take back what was set: the session that has it is told, now or when it is there again. @param {string} kind @param {string} label @param {Build} build */
  undo(kind, label, build) {
    this.set(kind, label, build, true);
  }

  /** Something that belongs to this moment alone, such as a reset. @param {string} label @param {Request} message */
  once(label, message) {
    if (!this.#commands.issue(message, label)) this.#notice(`${label}: there is no stream yet`);
  }

  /** As `setLast`, and it is not sent here. @param {string} kind @param {string} label @param {Build} build @param {boolean} isKnown the session has it already */
  adopt(kind, label, build, isKnown) {
    this.#kept.delete(kind);
    this.#kept.set(kind, { label, build, isUndo: false, isKnown });
    this.#builds.set(kind, (this.#builds.get(kind) ?? 0) + 1); // an upload that is under way is older
  }

  /** What a new session would be sent. @param {string[]} without these kinds */
  messages(without) {
    const kept = [...this.#kept].filter(([kind, { isUndo }]) => !isUndo && !without.includes(kind));
    return Promise.all(kept.map(([, { build }]) => build()));
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
    for (const [kind, entry] of this.#kept) {
      if (entry.isUndo && !isResumed) this.#kept.delete(kind);
      else if (!isResumed || !entry.isKnown) void this.#send(kind, entry);
    }
  }

  /** @param {string} kind @param {Entry} entry */
  async #send(kind, entry) {
    const build = (this.#builds.get(kind) ?? 0) + 1;
    this.#builds.set(kind, build);
    entry.isKnown = false;
    try {
      const built = entry.build();
      const message = built instanceof Promise ? await built : built; // what needs no upload goes out in order
      if (this.#builds.get(kind) === build) this.#commands.issue(message, entry.label, () => this.#answered(kind, entry));
    } catch (error) {
      if (this.#builds.get(kind) === build) this.#notice(`${entry.label}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** @param {string} kind @param {Entry} entry */
  #answered(kind, entry) {
    entry.isKnown = true;
    if (entry.isUndo && this.#kept.get(kind) === entry) this.#kept.delete(kind);
  }
}
