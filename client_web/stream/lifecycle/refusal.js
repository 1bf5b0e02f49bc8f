/** Refusal of a place, as HTTP tells it: what to say, and whether and when to ask again. */
import { ConnectError, noStream } from "./connect_error.js";
import { holdTicket } from "./queue_ticket.js";
import { queueText } from "../../server_text.js";

const WAITING = 202; // of a gateway: there is a place in line, and no session yet

/**
 * Words for a refused offer. The server's plain-text reason is for people, so it is shown as it is.
 * @param {Response} response
 * @param {string} reason
 */
export function refusal(response, reason) {
  const wait = Number(response.headers.get("Retry-After"));
  if (wait && (response.status === WAITING || response.status === 503 || response.status === 429)) {
    const position = Number(response.headers.get("Queue-Position"));
    if (position) holdTicket();
    return new ConnectError(queueText(position, reason), { retryAfter: wait, isFull: true });
  }
  if (response.status === 503) return noStream(reason);
  return new ConnectError(`The server refused the connection (${response.status}): ${reason}`);
}
