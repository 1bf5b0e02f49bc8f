/** Error of a connection that could not be made, by WebRTC or by WebSocket. */

/**
 * Connecting failed; `message` is written for the person at the page.
 * `retryAfter`: seconds after which it may work, null when trying again would change nothing.
 * `isFull`: every place is taken.
 */
export class ConnectError extends Error {
  /** @param {string} words @param {{retryAfter?: number | null, isFull?: boolean}} fate */
  constructor(words, { retryAfter = null, isFull = false } = {}) {
    super(words);
    this.retryAfter = retryAfter;
    this.isFull = isFull;
  }
}

/** @param {string} reason the server's own words */
export function noStream(reason) {
  return new ConnectError(`The server cannot take a stream: ${reason}`);
}
