/**
 * Wire messages, the browser's side. Mirrors server/protocol/requests.py and replies.py; PROTOCOL.md shows each one by example.
 * Builders make what the page sends; `decode` checks what the server sent. Nothing here touches a socket or the page.
 *
 * @typedef {{type: string, id: string, [field: string]: any}} Request
 * @typedef {{type: string, [field: string]: any}} ServerMessage
 * @typedef {"recache"|"cut"|"blend"} Transition
 * @typedef {"linear"|"slerp"} Curve
 * @typedef {{text: string, weight: number}} WeightedPrompt
 * @typedef {{transition?: Transition, chunks?: number, curve?: Curve}} Change how one prompt gives way to the next; the server fills in the rest
 * @typedef {{at: number, text: string} & Change} TimelineStep `at` in seconds since the timeline began
 *
 * @typedef {{name: string, trained: boolean, about: string, width: number, height: number, can_turn: boolean, steps: number, depth: string, device: string}} Model
 * @typedef {{name: string, prompt: string, thumbnail: string | null}} Look
 *
 * @typedef {{gray: number, lines: number}} Strengths of the controls beside depth; 0: off
 * @typedef {"standard"|"low"|"lower"|"lowest"} LatencyLevel
 * @typedef {"wide"|"upright"} Orientation the size that the server was started with; width and height exchanged
 * @typedef {"fill"|"fit"} CameraFit of a camera of another shape: cropped; whole, between bars
 * @typedef {{orientation: Orientation, fit: CameraFit, width: number | null, height: number | null}} ShapeState
 * @typedef {{noise_scale: number, follows_motion: boolean}} CameraStart 1 is noise alone; less keeps more of the camera
 * @typedef {{distance: number, side: "near"|"far", softness: number}} Region what is generated, by distance: 0 far, 1 near
 *
 * @typedef {object} Limits the largest values that commands may carry
 * @property {number} prompt_length characters
 * @property {number} blend_chunks
 * @property {number} timeline_steps
 * @property {number} timeline_seconds
 * @property {number} guidance_scale
 * @property {number} control_strength of gray, and of lines
 * @property {number} references
 * @property {number} steps
 * @property {number} timestep
 *
 * @typedef {object} Defaults of a prompt that leaves them out, and of a new session
 * @property {Transition} transition
 * @property {number} chunks
 * @property {Curve} curve
 * @property {{scale: number, adaptive: number}} guidance
 * @property {{enabled: boolean, smoothing: number, refinement: number}} depth
 * @property {Strengths} controls
 * @property {CameraStart} camera_start
 * @property {LatencyLevel} latency
 * @property {{fps: number | null, quality: string}} output
 */

/** What each server message must carry: field -> typeof. Fields that may be null or absent are not listed. */
/** @type {Record<string, Record<string, string>>} */
const SERVER_MESSAGES = {
  hello: { session: "string", model: "object", prompt: "string", guidance_scale: "number", controls: "object" },
  state: { state: "string", detail: "string", restarts: "boolean" },
  ack: { id: "string" },
  error: { code: "string", message: "string" },
  applied: { id: "string", command: "string", latency_ms: "number" },
  superseded: { id: "string", by: "string" },
  settings: { prompts: "object", guidance: "object", depth: "object", controls: "object", camera_start: "object", references: "object", shape: "object", seed: "object", output: "object" },
  recording: { state: "string" },
  stats: { id: "string" },
  pong: { id: "string" },
  telemetry: { latency_ms: "object", dropped: "object" },
};

/** A message from the server that this page cannot read. */
export class ProtocolError extends Error {}

/** No other client of the session may use the same ids. */
const OWN = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
let lastId = 0;

/** @param {string} type @param {Record<string, unknown>} fields @returns {Request} */
const request = (type, fields = {}) => ({ type, id: `${OWN}-${++lastId}`, ...fields });

/** A blend says over how many chunks and along which curve; the others have neither. @param {Change} change */
const changeFields = ({ transition, chunks, curve }) =>
  transition === "blend" ? { transition, chunks, curve } : { transition };

/** @param {string} text @param {Transition | Change} change */
export const setPrompt = (text, change) =>
  request("prompt.set", { text, ...changeFields(typeof change === "string" ? { transition: change } : change) });

/** @param {WeightedPrompt[]} prompts only the ratio of their weights counts @param {Change} change */
export const setPrompts = (prompts, change) => request("prompt.set", { prompts, ...changeFields(change) });

/** @param {TimelineStep[]} steps the first at 0 @param {{loop: boolean, duration?: number}} options `duration` for a loop */
export const setTimeline = (steps, { loop, duration }) =>
  request("timeline.set", {
    steps: steps.map(({ at, text, ...change }) => ({ at, text, ...changeFields(change) })),
    loop,
    ...(loop ? { duration } : {}),
  });

export const stopTimeline = () => request("timeline.stop");

/** @param {number} scale from 0, the prompt alone @param {number} adaptive 0 (steady) to 1: how far it follows motion */
export const setGuidance = (scale, adaptive = 0) => request("guidance.set", { scale, adaptive });

/** @param {{enabled?: boolean, smoothing?: number, refinement?: number}} change only what changes */
export const setDepth = (change) => request("depth.set", change);

/** @param {Partial<Strengths>} change only what changes */
export const setControls = (change) => request("controls.set", change);

/** @param {string[]} images ids of uploaded pictures; none clears */
export const setReferences = (images) => request("references.set", { images });

/** @param {string | null} image id of an uploaded picture, bright where to paint; null: everywhere */
export const setMask = (image) => request("mask.set", { image });

/** @param {Region | null} region null: everywhere */
export const setRegion = (region) => request("region.set", region ?? { distance: null });

/** @param {Partial<CameraStart>} change only what changes */
export const setCameraStart = (change) => request("camera_start.set", change);

/** @param {number[] | null} steps falling integers; null: the model's own */
export const setSteps = (steps) => request("steps.set", { steps });
/** Steps and noise scale by one choice. @param {LatencyLevel} level */
export const setLatency = (level) => request("latency.set", { level });

/** Another orientation starts the picture again. @param {{orientation?: Orientation, fit?: CameraFit}} change only what changes */
export const setShape = (change) => request("shape.set", change);

/** What the next reset or cut starts from. @param {number | null} seed null: a new one each time */
export const setSeed = (seed) => request("seed.set", seed === null ? { mode: "random" } : { mode: "fixed", seed });

/** The command that a part of a set-up stands for. @param {string} name @param {Record<string, unknown>} fields */
export const setPart = (name, fields) => request(`${name}.set`, fields);

/** @param {boolean} on hold the camera's picture */
export const setFreeze = (on) => request("freeze.set", { on });

export const pause = () => request("pause");

export const resume = () => request("resume");

/** @param {boolean} sideBySide the camera beside the picture */
export const startRecording = (sideBySide) => request("record.start", { side_by_side: sideBySide });

export const stopRecording = () => request("record.stop");

/** @param {{fps?: number | null, quality?: "low"|"medium"|"high"}} output at most so many frames a second, and how fine; what is left out stays */
export const setOutput = (output) => request("output.set", output);

/** A fresh start of the picture; the prompt stays. @param {string} [picture] id of an uploaded one to begin with */
export const reset = (picture) => request("reset", picture === undefined ? {} : { picture });

/** The heartbeat: once a peer has sent one, the server ends its session when it falls silent. */
export const ping = () => request("ping");

/**
 * One server message, checked. Unknown extra fields are kept: a newer server may say more than this page shows.
 * @param {string} raw
 * @returns {ServerMessage}
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
