/** The camera as JPEGs, for the WebSocket. A picture that may not be sent now is dropped and counted: a newer one comes. */

const QUALITY = 0.8;
const SIDE_BEFORE_MODEL = 480; // of the longer side, until the model's size is known

/** @typedef {{jpeg: ArrayBuffer, timestampUs: number, skipped: number}} Shot */

export class SocketCamera {
  #maySend;
  #send;
  #video = document.createElement("video");
  #canvas = new OffscreenCanvas(1, 1);
  /** @type {{width: number, height: number} | null} */
  #model = null;
  #skipped = 0;
  #isBusy = false;
  #isOver = false;
  encoded = 0;
  encodeMs = 0;

  /**
   * @param {() => boolean} maySend
   * @param {(shot: Shot) => void} send
   */
  constructor(maySend, send) {
    this.#maySend = maySend;
    this.#send = send;
    this.#video.muted = true;
    this.#video.playsInline = true;
  }

  /** Also in place of another one. @param {MediaStreamTrack} track */
  film(track) {
    const isFirst = this.#video.srcObject === null;
    this.#video.srcObject = new MediaStream([track]);
    void this.#video.play().catch(() => {}); // the next source has interrupted it
    if (isFirst) this.#await();
  }

  /** Pictures that just cover the model's are enough. @param {{width: number, height: number}} model */
  limit(model) {
    this.#model = model;
  }

  stop() {
    this.#isOver = true;
    this.#video.srcObject = null;
  }

  #await() {
    this.#video.requestVideoFrameCallback((now, { captureTime }) => {
      if (this.#isOver) return;
      this.#await();
      void this.#take(captureTime ?? now);
    });
  }

  /** @param {number} takenAt milliseconds */
  async #take(takenAt) {
    if (this.#isBusy || !this.#maySend()) return void (this.#skipped += 1);
    this.#isBusy = true;
    try {
      const began = performance.now();
      this.#draw();
      const blob = await this.#canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
      const jpeg = await blob.arrayBuffer();
      this.encodeMs += performance.now() - began;
      this.encoded += 1;
      if (this.#isOver) return;
      this.#send({ jpeg, timestampUs: Math.max(0, 1000 * takenAt), skipped: this.#skipped });
      this.#skipped = 0;
    } finally {
      this.#isBusy = false;
    }
  }

  #draw() {
    const { videoWidth, videoHeight } = this.#video;
    const share = this.#model
      ? Math.max(this.#model.width / videoWidth, this.#model.height / videoHeight)
      : SIDE_BEFORE_MODEL / Math.max(videoWidth, videoHeight);
    const width = Math.round(videoWidth * Math.min(1, share));
    const height = Math.round(videoHeight * Math.min(1, share));
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    this.#canvas.getContext("2d", { alpha: false })?.drawImage(this.#video, 0, 0, width, height);
  }
}
