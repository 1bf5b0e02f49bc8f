/** HTTP requests of a session: pictures up, snapshots and recordings down. Its id comes with `hello`. */

/** It did not work; `message` says why, for the person. `faults`: all that is wrong with what was sent, where that is told. */
export class SessionError extends Error {
  /** @type {{field: string, message: string}[]} */
  faults = [];
}

const NO_STREAM = "There is no stream yet. Press Start first.";

const BUSY = 429;
const MOST_TRIES = 4;
const PATIENCE_MS = 1000;

export class SessionHttp {
  /** @type {string | null} of the stream that runs */
  id = null;
  /** @type {string | null} of the newest one, also when it has ended */
  last = null;

  /** @param {string} id */
  begin(id) {
    this.id = this.last = id;
  }

  end() {
    this.id = null;
  }

  /**
   * @param {Blob} picture PNG, JPEG or WebP
   * @returns {Promise<string>} the id to name it by
   */
  async upload(picture) {
    const response = await this.#ask("images", { method: "POST", headers: { "Content-Type": picture.type }, body: picture });
    return (await response.json()).id;
  }

  /** @returns {Promise<Blob>} the picture on show, a PNG that tells how it was made */
  async snapshot() {
    return (await this.#ask("snapshot")).blob();
  }

  /** All that is set. @returns {Promise<import("./setup_file.js").SetupFile>} */
  async setup() {
    return (await this.#ask("setup")).json();
  }

  /** The session takes it whole, or nothing of it. @param {import("./setup_file.js").SetupFile} setup */
  async loadSetup(setup) {
    await this.#ask("setup", { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(setup) });
  }

  /** The address of a recording of the newest session, also when that has ended. @param {string} name */
  recording(name) {
    return `sessions/${this.last}/recordings/${encodeURIComponent(name)}`;
  }

  /** @param {string} what @param {RequestInit} options @param {number} tries @returns {Promise<Response>} */
  async #ask(what, options = {}, tries = MOST_TRIES) {
    if (!this.id) throw new SessionError(NO_STREAM);
    let response;
    try {
      response = await fetch(`sessions/${this.id}/${what}`, options);
    } catch {
      throw new SessionError("The server does not answer.");
    }
    if (response.status === BUSY && tries > 1) {
      await new Promise((resolve) => setTimeout(resolve, PATIENCE_MS)); // three references come at once
      return this.#ask(what, options, tries - 1);
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

/** Refusals are plain text, an `error` message, or several. @param {Response} response */
async function refusal(response) {
  const text = (await response.text()).trim();
  let words = text;
  /** @type {{field: string | null, message: string}[]} */
  let errors = [];
  try {
    const told = JSON.parse(text);
    errors = told.errors ?? [];
    words = told.message ?? errors[0]?.message ?? text;
  } catch {} // it is plain text
  const error = new SessionError(words || `The server refuses it (${response.status}).`);
  error.faults = errors.map(({ field, message }) => ({ field: field ?? "", message }));
  return error;
}
