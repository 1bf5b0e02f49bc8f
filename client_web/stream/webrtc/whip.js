/** WHIP signalling (RFC 9725): an offer up, an answer down, and the session given back in the end. */

import { ConnectError } from "../lifecycle/connect_error.js";
import { sendDelete } from "../lifecycle/delete_request.js";
import { queueTicket, ticketUsed } from "../lifecycle/queue_ticket.js";
import { refusal } from "../lifecycle/refusal.js";
import { NO_ANSWER } from "../../server_text.js";

/** One session at the server, from offer to end. */
export class WhipSession {
  /** @type {string | null} its URL, once the server has made it */
  #resource = null;
  #leaving = new AbortController();

  /** Its id at the server: the last part of its URL. */
  get session() {
    return this.#resource?.split("/").pop() ?? null;
  }

  /**
   * @param {string} offer SDP with all its candidates
   * @param {string | null} former id of a session that was lost: it is taken up again if it is still there
   * @returns {Promise<string>} the answer
   * @throws {ConnectError}
   */
  async publish(offer, former = null) {
    let response;
    const query = new URLSearchParams(former ? { session: former } : { ticket: queueTicket() });
    try {
      response = await fetch(`whip?${query}`, {
        method: "POST",
        headers: { "Content-Type": "application/sdp" },
        body: offer,
        signal: this.#leaving.signal,
      });
    } catch {
      throw new ConnectError(NO_ANSWER, { retryAfter: 0 });
    }
    if (former && response.status === 404) return this.publish(offer); // it is gone: a new one
    const location = response.headers.get("Location");
    const isCreated = response.status === 201 && location !== null;
    // noted before the body is read: from here on it can be deleted
    if (isCreated) {
      this.#resource = new URL(location, response.url).href;
      ticketUsed();
    }
    const body = await response.text();
    if (!isCreated) throw refusal(response, body.trim());
    return body;
  }

  /** The server is told that nobody will be there. Safe to call at any time, and twice. */
  async end() {
    if (!this.#resource) return;
    const resource = this.#resource;
    this.#resource = null;
    await sendDelete(resource);
  }

  /**
   * The page is going away. It could not act on an answer that is still to come, so the offer is taken back: the
   * server drops a session whose answer finds nobody. An answer that was sent but not yet read here slips through,
   * and its session lasts until the server finds it unconnected (its --peer-timeout).
   */
  takeBack() {
    this.#leaving.abort();
  }

  /** The server has ended it by itself: nothing is left to delete. */
  forget() {
    this.#resource = null;
  }
}
