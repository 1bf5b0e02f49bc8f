/**
 * Encoder of the camera for the WebSocket, as VP8 where the server wants it and the browser can, else as JPEGs. A
 * picture that may not be sent now is dropped and counted, before it is encoded: a newer one comes.
 */
import { JPEG, VP8 } from "./media_frame.js";
import { canEncodeVp8 } from "./codecs.js";
import { Vp8Encoder } from "./vp8_encoder.js";

const QUALITY = 0.8;
const SIDE_BEFORE_MODEL = 480; // of the longer side, until the model's size is known

/** @typedef {{kind: number, data: ArrayBuffer, timestampUs: number, skipped: number}} CodedFrame `kind` is JPEG or VP8 */

export class CameraEncoder {
  #maySend;
  #send;
  #video = document.createElement("video");
  #canvas = new OffscreenCanvas(1, 1);
  /** @type {{width: number, height: number} | null} */
  #model = null;
  /** @type {Vp8Encoder | null} null: JPEGs */
  #vp8 = null;
  #skipped = 0;
  #isBusy = false;
  #isOver = false;
  encoded = 0;
  encodeMs = 0;

  /**
   * @param {() => boolean} maySend
   * @param {(coded: CodedFrame) => void} send
   */
  constructor(maySend, send) {
    this.#maySend = maySend;
    this.#send = send;
    this.#video.muted = true;
    this.#video.playsInline = true;
  }

  /** Also in place of another one. @param {MediaStreamTrack} track */
  setTrack(track) {
    const isFirst = this.#video.srcObject === null;
    this.#video.srcObject = new MediaStream([track]);
    void this.#video.play().catch(() => {}); // the next source has interrupted it
    if (isFirst) this.#waitForFrame();
  }

  /** Pictures that just cover the model's are enough. @param {{width: number, height: number}} model */
  setModelSize(model) {
    this.#model = model;
  }

  /** What the server wants from now on. @param {number} kind */
  async setCodec(kind) {
    if (kind !== VP8) return this.#useJpeg();
    if (this.#vp8) return this.#vp8.requestKeyFrame();
    if ((await canEncodeVp8()) && !this.#isOver) this.#vp8 ??= new Vp8Encoder();
  }

  stop() {
    this.#isOver = true;
    this.#useJpeg();
    this.#video.srcObject = null;
  }

  #waitForFrame() {
    this.#video.requestVideoFrameCallback((now, { captureTime }) => {
      if (this.#isOver) return;
      this.#waitForFrame();
      void this.#capture(captureTime ?? now);
    });
  }

  /** @param {number} takenAt milliseconds */
  async #capture(takenAt) {
    if (this.#isBusy || !this.#maySend()) return void (this.#skipped += 1);
    this.#isBusy = true;
    try {
      const began = performance.now();
      this.#draw();
      const code = await this.#encode();
      this.encodeMs += performance.now() - began;
      this.encoded += 1;
      if (this.#isOver) return;
      if (!code) return void (this.#skipped += 1);
      this.#send({ ...code, timestampUs: Math.max(0, 1000 * takenAt), skipped: this.#skipped });
      this.#skipped = 0;
    } finally {
      this.#isBusy = false;
    }
  }

  /** @returns {Promise<{kind: number, data: ArrayBuffer} | null>} null: not this one */
  async #encode() {
    const encoder = this.#vp8;
    if (encoder) {
      try {
        const data = await encoder.encode(this.#canvas);
        if (data) return { kind: VP8, data };
      } catch (error) {
        console.info("the camera goes on as JPEGs:", error);
        encoder.close();
      }
      if (!encoder.isBroken) return null;
      if (this.#vp8 === encoder) this.#vp8 = null;
    }
    const blob = await this.#canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
    return { kind: JPEG, data: await blob.arrayBuffer() };
  }

  #useJpeg() {
    this.#vp8?.close();
    this.#vp8 = null;
  }

  #draw() {
    const { videoWidth, videoHeight } = this.#video;
    const share = this.#model
      ? Math.max(this.#model.width / videoWidth, this.#model.height / videoHeight)
      : SIDE_BEFORE_MODEL / Math.max(videoWidth, videoHeight);
    const width = 2 * Math.round((videoWidth * Math.min(1, share)) / 2); // even, as video has it
    const height = 2 * Math.round((videoHeight * Math.min(1, share)) / 2);
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    this.#canvas.getContext("2d", { alpha: false })?.drawImage(this.#video, 0, 0, width, height);
  }
}
