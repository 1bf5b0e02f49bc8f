/** JPEGs from the WebSocket as a stream that any video element plays. Only the newest one waits to be decoded. */

export class SocketScreen {
  #onStream;
  #onDone;
  #canvas = document.createElement("canvas");
  #pen = this.#canvas.getContext("2d", { alpha: false });
  /** @type {Uint8Array<ArrayBuffer> | null} */
  #next = null;
  #isBusy = false;
  #isOver = false;
  #hasStream = false;
  shown = 0;
  dropped = 0;
  decodeMs = 0;

  /**
   * @param {(stream: MediaStream) => void} onStream once, with the first picture
   * @param {() => void} onDone for each picture: it was shown, or dropped for a newer one
   */
  constructor(onStream, onDone) {
    this.#onStream = onStream;
    this.#onDone = onDone;
  }

  /** @param {Uint8Array<ArrayBuffer>} jpeg @param {number} skipped at the server, for want of credit */
  show(jpeg, skipped) {
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
  }

  async #work() {
    this.#isBusy = true;
    while (this.#next && !this.#isOver) {
      const jpeg = this.#next;
      this.#next = null;
      await this.#draw(jpeg);
      if (!this.#isOver) this.#onDone();
    }
    this.#isBusy = false;
  }

  /** @param {Uint8Array<ArrayBuffer>} jpeg */
  async #draw(jpeg) {
    const began = performance.now();
    let picture;
    try {
      picture = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    } catch (error) {
      return console.warn("picture from the server ignored:", error);
    }
    const { width, height } = picture;
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    const stream = this.#hasStream ? null : this.#canvas.captureStream(); // before the first stroke, which it shows
    this.#hasStream = true;
    this.#pen?.drawImage(picture, 0, 0);
    picture.close();
    this.decodeMs += performance.now() - began;
    this.shown += 1;
    if (stream) this.#onStream(stream);
  }
}
