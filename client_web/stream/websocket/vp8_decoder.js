/** VP8 decoder: each picture is decoded, in order. After an error nothing is shown until a key frame comes. */
import { VP8_CODEC, isKeyFrame } from "./codecs.js";

const MOST_FAILURES = 3; // in a row

export class Vp8Decoder {
  #onPicture;
  #onDone;
  #onBroken;
  /** @type {VideoDecoder | null} */
  #decoder = null;
  /** @type {number[]} when each picture that is being decoded was handed over */
  #began = [];
  #count = 0;
  #failures = 0;

  /**
   * @param {(picture: VideoFrame, decodeMs: number) => void} onPicture draws it; it is closed afterwards
   * @param {() => void} onDone for each picture: it was drawn, or cannot be
   * @param {(isForGood: boolean) => void} onBroken a key frame is needed; `isForGood`: it would not help
   */
  constructor(onPicture, onDone, onBroken) {
    this.#onPicture = onPicture;
    this.#onDone = onDone;
    this.#onBroken = onBroken;
  }

  /** @param {Uint8Array<ArrayBuffer>} data */
  decode(data) {
    if (!this.#decoder && !isKeyFrame(data)) return this.#onDone(); // what it builds on is missing
    this.#decoder ??= this.#open();
    this.#began.push(performance.now());
    try {
      this.#decoder.decode(new EncodedVideoChunk({ type: isKeyFrame(data) ? "key" : "delta", timestamp: this.#count++, data }));
    } catch {
      this.#fail();
    }
  }

  close() {
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = null;
  }

  #open() {
    const decoder = new VideoDecoder({
      output: (picture) => this.#show(picture),
      error: () => decoder === this.#decoder && this.#fail(),
    });
    decoder.configure({ codec: VP8_CODEC, optimizeForLatency: true });
    return decoder;
  }

  /** @param {VideoFrame} picture */
  #show(picture) {
    this.#failures = 0;
    this.#onPicture(picture, performance.now() - (this.#began.shift() ?? performance.now()));
    picture.close();
    this.#onDone();
  }

  #fail() {
    this.close();
    this.#failures += 1;
    const lost = this.#began.splice(0);
    this.#onBroken(this.#failures >= MOST_FAILURES);
    for (const _ of lost) this.#onDone();
  }
}
