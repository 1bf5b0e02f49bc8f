/**
 * Statistics of a connection, as the browser measures them: counters since its beginning, from getStats().
 *
 * @typedef {object} Received
 * @property {number} frames pictures decoded
 * @property {number} dropped pictures decoded too late to show
 * @property {number} packetsLost
 * @property {number} bufferS seconds that pictures have waited for their turn, summed over `emitted`
 * @property {number} emitted pictures that have left that buffer
 * @property {number} decodeS seconds spent decoding, summed over `frames`
 *
 * @typedef {object} Link
 * @property {number | null} encodeMs to encode one camera picture here
 * @property {number | null} roundTripMs there and back
 * @property {string} words how this page reaches the server
 */

/** @typedef {Map<string, any>} Reports an RTCStatsReport */

/** @param {Reports} reports @returns {Received | null} null before the first picture */
export function received(reports) {
  const report = find(reports, (entry) => entry.type === "inbound-rtp" && entry.kind === "video");
  if (!report) return null;
  return {
    frames: report.framesDecoded ?? 0,
    dropped: report.framesDropped ?? 0,
    packetsLost: report.packetsLost ?? 0,
    bufferS: report.jitterBufferDelay ?? 0,
    emitted: report.jitterBufferEmittedCount ?? 0,
    decodeS: report.totalDecodeTime ?? 0,
  };
}

/** @param {Reports} reports @returns {Link | null} null before a path is found */
export function link(reports) {
  const socket = find(reports, (entry) => entry.type === "websocket");
  if (socket) {
    const { encodeMs, roundTripMs } = socket;
    return { encodeMs, roundTripMs, words: `through a WebSocket${thereAndBack(roundTripMs)}` };
  }
  const transport = find(reports, (entry) => entry.type === "transport" && entry.selectedCandidatePairId);
  const pair =
    reports.get(transport?.selectedCandidatePairId ?? "") ??
    find(reports, (entry) => entry.type === "candidate-pair" && entry.nominated && entry.state === "succeeded");
  if (!pair) return null;
  const sent = find(reports, (entry) => entry.type === "outbound-rtp" && entry.kind === "video");
  const roundTripMs = typeof pair.currentRoundTripTime === "number" ? 1000 * pair.currentRoundTripTime : null;
  return {
    encodeMs: sent?.framesEncoded ? (1000 * (sent.totalEncodeTime ?? 0)) / sent.framesEncoded : null,
    roundTripMs,
    words: describe(reports.get(pair.localCandidateId), reports.get(pair.remoteCandidateId), roundTripMs),
  };
}

/** @param {Reports} reports @param {(entry: any) => boolean} matches */
function find(reports, matches) {
  for (const entry of reports.values()) if (matches(entry)) return entry;
  return undefined;
}

/** @param {any} local @param {any} remote @param {number | null} roundTripMs */
function describe(local, remote, roundTripMs) {
  const isRelayed = local?.candidateType === "relay" || remote?.candidateType === "relay";
  const protocol = (local?.relayProtocol ?? local?.protocol ?? "udp").toUpperCase();
  const way = isRelayed ? `relayed over ${protocol}` : `direct, ${protocol}`;
  return `${way}${thereAndBack(roundTripMs)}`;
}

/** @param {number | null} ms */
function thereAndBack(ms) {
  return ms === null ? "" : `, ${Math.max(1, Math.round(ms))} ms there and back`;
}
