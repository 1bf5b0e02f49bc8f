/** Codecs that this browser can encode and decode; JPEG is what it always can. */

export const VP8_CODEC = "vp8";
const PROBE = { width: 640, height: 480 };

/** `?video=jpeg` in the page's address: to compare, and where VP8 goes wrong. */
const isJpegWanted = new URLSearchParams(location.search).get("video") === "jpeg";

/** @returns {Promise<boolean>} not on pages over plain http: WebCodecs need a secure context */
export async function canEncodeVp8() {
  if (isJpegWanted || !("VideoEncoder" in window) || !("VideoFrame" in window)) return false;
  const { supported } = await VideoEncoder.isConfigSupported({ codec: VP8_CODEC, ...PROBE }).catch(() => ({ supported: false }));
  return supported === true;
}

/** @returns {Promise<boolean>} */
export async function canDecodeVp8() {
  if (isJpegWanted || !("VideoDecoder" in window)) return false;
  const { supported } = await VideoDecoder.isConfigSupported({ codec: VP8_CODEC }).catch(() => ({ supported: false }));
  return supported === true;
}

/** Whether a VP8 picture stands alone. @param {Uint8Array<ArrayBuffer>} data */
export function isKeyFrame(data) {
  return (data[0] & 1) === 0;
}
