/** VP8 encoder: one picture after the other, each built on the one before, so that none may be lost here. */
import { VP8_CODEC } from "./codecs.js";

const BITS_PER_PIXEL = 0.4; // as good as a JPEG of medium quality, in a third of its size
const MOST_BITRATE = 2_000_000;
const FPS = 30; // each picture gets this share of the bitrate: fewer on a slow way are not larger ones
const OUTPUT_LIMIT_MS = 1000;

export class Vp8Encoder {
  #encoder;
  #size = "";
  #needsKeyFrame = true;
  #count = 0; // of pictures: their times for the encoder, and their names
  /** @type {number | null} timestamp of the picture whose code is awaited */
  #awaited = null;
  /** @type {(code: EncodedVideoChunk | null) => void} */
  #settle = () => {};

  constructor() {
    this.#encoder = new VideoEncoder({ output: (code) => this.#take(code), error: () => this.#settle(null) });
  }

  /** It gives nothing any more. */
  get isBroken() {
    return this.#encoder.state === "closed";
  }

  /** The next picture shall stand alone. */
  requestKeyFrame() {
    this.#needsKeyFrame = true;
  }

  /**
   * @param {OffscreenCanvas} canvas
   * @returns {Promise<ArrayBuffer | null>} null: this picture is left out, and the next one stands alone
   * @throws {DOMException} it is broken
   */
  async encode(canvas) {
    this.#fit(canvas);
    const frame = new VideoFrame(canvas, { timestamp: Math.round((1e6 * this.#count++) / FPS), alpha: "discard" });
    this.#awaited = frame.timestamp;
    const coded = new Promise((/** @type {(code: EncodedVideoChunk | null) => void} */ resolve) => (this.#settle = resolve));
    const limit = setTimeout(() => this.#settle(null), OUTPUT_LIMIT_MS);
    try {
      this.#encoder.encode(frame, { keyFrame: this.#needsKeyFrame });
    } catch (error) {
      clearTimeout(limit);
      throw error;
    } finally {
      frame.close();
    }
    this.#needsKeyFrame = false;
    const code = await coded;
    clearTimeout(limit);
    this.#awaited = null;
    if (!code) {
      this.#needsKeyFrame = true; // it may still come, and be left out then
      return null;
    }
    const data = new ArrayBuffer(code.byteLength);
    code.copyTo(data);
    return data;
  }

  close() {
    if (!this.isBroken) this.#encoder.close();
  }

  /** @param {EncodedVideoChunk} code */
  #take(code) {
    if (code.timestamp === this.#awaited) this.#settle(code);
  }

  /** @param {OffscreenCanvas} canvas */
  #fit({ width, height }) {
    if (this.#size === `${width}x${height}`) return;
    this.#size = `${width}x${height}`;
    const bitrate = Math.min(MOST_BITRATE, Math.round(BITS_PER_PIXEL * width * height * FPS));
    this.#encoder.configure({ codec: VP8_CODEC, width, height, bitrate, framerate: FPS, latencyMode: "realtime" });
    this.#needsKeyFrame = true;
  }
}
