/** DELETE request that may be the last word of this page to the server: it outlives the page, and nobody waits for it long. */

const LIMIT_MS = 3000;

/** @param {string} address */
export async function sendDelete(address) {
  try {
    await fetch(address, { method: "DELETE", keepalive: true, signal: AbortSignal.timeout(LIMIT_MS) });
  } catch {
    // a server that is not reached ends the session by itself, and forgets the ticket
  }
}
