/**
 * The wire messages, the browser's side. Mirrors server/protocol.py; PROTOCOL.md shows each one by example.
 * Builders make what the page sends; `decode` checks what the server sent. Nothing here touches a socket or the page.
 */

export const PROMPT_MAX_LENGTH = 1000;

/** What each server message must carry: field -> typeof. Fields that may be null or absent are not listed. */
const SERVER_MESSAGES = {
  hello: { session: "string", model: "object", prompt: "string", guidance_scale: "number" },
  state: { state: "string", detail: "string" },
  ack: { id: "string" },
  error: { code: "string", message: "string" },
  applied: { id: "string", command: "string", chunk: "number", frame: "number", latency_ms: "number" },
  superseded: { id: "string", by: "string" },
  stats: { id: "string" },
  pong: { id: "string" },
  telemetry: { latency_ms: "object", dropped: "object" },
};

/** A message from the server that this page cannot read. */
export class ProtocolError extends Error {}

let lastId = 0;
const nextId = () => String(++lastId);

/** @param {string} text 1..1000 characters after trimming @param {"recache"|"cut"} transition */
export const setPrompt = (text, transition) => ({ type: "prompt.set", id: nextId(), text, transition });

/** @param {number} scale 0 (prompt alone) to 2 */
export const setGuidance = (scale) => ({ type: "guidance.set", id: nextId(), scale });

/** A fresh start of the picture; the prompt stays. */
export const reset = () => ({ type: "reset", id: nextId() });

/** The heartbeat: once a peer has sent one, the server ends its session after 10 s of silence. */
export const ping = () => ({ type: "ping", id: nextId() });

/**
 * One server message, checked. Unknown extra fields are kept: a newer server may say more than this page shows.
 * @param {string} raw
 * @returns {{type: string, [field: string]: any}}
 * @throws {ProtocolError} naming what was expected
 */
export function decode(raw) {
  let message;
  try {
    message = JSON.parse(raw);
  } catch {
    throw new ProtocolError(`not JSON: ${raw.slice(0, 80)}`);
  }
  const fields = SERVER_MESSAGES[message?.type];
  if (!fields) throw new ProtocolError(`unknown message type: ${message?.type}`);
  for (const [name, type] of Object.entries(fields)) {
    if (typeof message[name] !== type || message[name] === null) {
      throw new ProtocolError(`${message.type}.${name}: expected ${type}, got ${JSON.stringify(message[name])}`);
    }
  }
  return message;
}
