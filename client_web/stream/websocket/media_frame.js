/**
 * Binary messages of the media WebSocket. Mirrors server/websocket/media_frame.py: 16 bytes of header, then a picture.
 *
 * @typedef {object} MediaFrame
 * @property {number} kind CREDIT, JPEG, VP8 or CODEC_REQUEST
 * @property {number} sequence of a picture: counts those sent; of credit: how many may have been sent in all
 * @property {number} skipped pictures dropped just before this one
 * @property {Uint8Array<ArrayBuffer>} payload
 */

const VERSION = 1;
const HEADER_BYTES = 16;
const MOST_SKIPPED = 0xffff;

export const CREDIT = 0;
export const JPEG = 1;
export const VP8 = 2;
export const CODEC_REQUEST = 3; // `sequence` is what is wanted: JPEG or VP8, that beginning with a key frame

/**
 * @param {number} kind
 * @param {number} sequence
 * @param {{timestampUs?: number, skipped?: number, payload?: ArrayBuffer}} picture
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeFrame(kind, sequence, { timestampUs = 0, skipped = 0, payload = new ArrayBuffer(0) } = {}) {
  const bytes = new Uint8Array(HEADER_BYTES + payload.byteLength);
  const header = new DataView(bytes.buffer);
  header.setUint8(0, VERSION);
  header.setUint8(1, kind);
  header.setUint16(2, Math.min(skipped, MOST_SKIPPED));
  header.setUint32(4, sequence);
  header.setBigUint64(8, BigInt(Math.round(timestampUs)));
  bytes.set(new Uint8Array(payload), HEADER_BYTES);
  return bytes;
}

/** @param {ArrayBuffer} data @returns {MediaFrame | null} null for what this page cannot read */
export function decodeFrame(data) {
  if (data.byteLength < HEADER_BYTES) return null;
  const header = new DataView(data);
  if (header.getUint8(0) !== VERSION) return null;
  return {
    kind: header.getUint8(1),
    skipped: header.getUint16(2),
    sequence: header.getUint32(4),
    payload: new Uint8Array(data, HEADER_BYTES),
  };
}
