/**
 * Latency by stage: where a picture spends its time between the camera and this screen. Pure.
 *
 * @typedef {import("../stream/webrtc/stats.js").Received} Received
 * @typedef {import("../stream/webrtc/stats.js").Link} Link
 * @typedef {Record<string, number | null>} Stages milliseconds; null: not measured yet
 */

/** Stages in the order of the way; `from`: the server's name of it in telemetry, null for what is measured here. */
export const STAGES = [
  { name: "capture", from: "collect", title: "Camera pictures gather until a chunk is full" },
  { name: "depth", from: "depth", title: "Depth is estimated" },
  { name: "encode", from: "encode", title: "Depth becomes guidance" },
  { name: "generate", from: "generate", title: "The model generates" },
  { name: "decode", from: "decode", title: "Latents become pictures" },
  { name: "pace", from: "pace", title: "Pictures wait for their moment" },
  { name: "network", from: null, title: "There and back, with the video's coding at both ends" },
];

/**
 * @param {Record<string, number | null>} server latency_ms of telemetry
 * @param {number | null} networkMs
 * @returns {Stages} each stage and `total`, from glass to glass without what camera and screen take themselves
 */
export function stages(server, networkMs) {
  /** @type {Stages} */
  const all = {};
  for (const { name, from } of STAGES) all[name] = from === null ? networkMs : (server[from] ?? null);
  const total = server.total ?? null;
  all.total = total === null ? null : total + (networkMs ?? 0);
  return all;
}

/**
 * There and back, and the video's coding here: encode, wait in the buffer, decode.
 * @param {Link | null} link
 * @param {Received} now
 * @param {Received} before a second ago
 * @returns {number | null}
 */
export function networkMs(link, now, before) {
  if (link?.roundTripMs == null) return null;
  const emitted = now.emitted - before.emitted;
  const decoded = now.frames - before.frames;
  const buffered = emitted > 0 ? (1000 * (now.bufferS - before.bufferS)) / emitted : 0;
  const decoding = decoded > 0 ? (1000 * (now.decodeS - before.decodeS)) / decoded : 0;
  return link.roundTripMs + (link.encodeMs ?? 0) + buffered + decoding;
}
