/**
 * Renderer of pictures from the WebSocket into a stream that any video element plays. Of JPEGs only the newest one
 * waits to be decoded; of VP8 each is, since the next one builds on it.
 */
import { Vp8Decoder } from "./vp8_decoder.js";

export class FrameRenderer {
  #onStream;
  #onDone;
  #canvas = document.createElement("canvas");
  #context = this.#canvas.getContext("2d", { alpha: false });
  /** @type {Uint8Array<ArrayBuffer> | null} */
  #next = null;
  #isBusy = false;
  #isOver = false;
  #hasStream = false;
  #vp8;
  shown = 0;
  dropped = 0;
  decodeMs = 0;

  /**
   * @param {(stream: MediaStream) => void} onStream once, with the first picture
   * @param {() => void} onDone for each picture: it was shown, or dropped for a newer one
   * @param {(isForGood: boolean) => void} onBroken VP8 must begin anew with a key frame; `isForGood`: it cannot be shown
   */
  constructor(onStream, onDone, onBroken) {
    this.#onStream = onStream;
    this.#onDone = onDone;
    this.#vp8 = new Vp8Decoder(
      (picture, decodeMs) => this.#draw(picture, picture.displayWidth, picture.displayHeight, decodeMs),
      () => !this.#isOver && this.#onDone(),
      (isForGood) => !this.#isOver && onBroken(isForGood),
    );
  }

  /** @param {Uint8Array<ArrayBuffer>} data @param {number} skipped at the server, for want of credit */
  showVp8(data, skipped) {
    this.dropped += skipped;
    this.#vp8.decode(data);
  }

  /** @param {Uint8Array<ArrayBuffer>} jpeg @param {number} skipped at the server, for want of credit */
  showJpeg(jpeg, skipped) {
    this.dropped += skipped;
    if (this.#next) {
      this.dropped += 1;
      this.#onDone();
    }
    this.#next = jpeg;
    if (!this.#isBusy) void this.#work();
  }

  stop() {
    this.#isOver = true;
    this.#next = null;
    this.#vp8.close();
  }

  async #work() {
    this.#isBusy = true;
    while (this.#next && !this.#isOver) {
      const jpeg = this.#next;
      this.#next = null;
      await this.#drawJpeg(jpeg);
      if (!this.#isOver) this.#onDone();
    }
    this.#isBusy = false;
  }

  /** @param {Uint8Array<ArrayBuffer>} jpeg */
  async #drawJpeg(jpeg) {
    const began = performance.now();
    let picture;
    try {
      picture = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    } catch (error) {
      return console.warn("picture from the server ignored:", error);
    }
    this.#draw(picture, picture.width, picture.height, performance.now() - began);
    picture.close();
  }

  /** @param {CanvasImageSource} picture @param {number} width @param {number} height @param {number} decodeMs */
  #draw(picture, width, height, decodeMs) {
    if (this.#isOver) return;
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    const stream = this.#hasStream ? null : this.#canvas.captureStream(); // before the first stroke, which it shows
    this.#hasStream = true;
    this.#context?.drawImage(picture, 0, 0);
    this.decodeMs += decodeMs;
    this.shown += 1;
    if (stream) this.#onStream(stream);
  }
}
