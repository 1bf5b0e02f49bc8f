/**
 * WebSocket connection to the server, for networks that block UDP: VP8 or JPEGs each way, and the
 * messages of both data channels. Used as WebRtcConnection is.
 */
import { ping } from "../../protocol.js";
import { ConnectError, noStream } from "../lifecycle/connect_error.js";
import { sendDelete } from "../lifecycle/delete_request.js";
import { CODEC_REQUEST, CREDIT, JPEG, VP8, decodeFrame, encodeFrame } from "./media_frame.js";
import { Liveness } from "../lifecycle/liveness.js";
import { CameraEncoder } from "./camera_encoder.js";
import { FrameRenderer } from "./frame_renderer.js";
import { refusal } from "../lifecycle/refusal.js";
import { holdTicket, queueTicket, ticketUsed } from "../lifecycle/queue_ticket.js";
import { canDecodeVp8 } from "./codecs.js";
import { NO_ANSWER, queueText } from "../../server_text.js";

const DOWNLOAD_WINDOW = 3; // pictures on their way here at once: more is smoother where the way is long, and later
const CONNECT_LIMIT_MS = 15000;
const FULL_RETRY_S = 5;
const LED = 200;

// close codes: those of the protocol, and the server's own
const OK = 1000;
const KEPT = 4000;
const LOST_CODES = [1006, KEPT];
const GONE = 4404;
const NO_MODEL = 4500;
const FULL = 4503;

export class WebSocketConnection {
  #handlers;
  #isLed;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {string | null} */
  #session = null;

  #camera = new CameraEncoder(
    () => this.#sent < this.#allowed && this.#socket?.readyState === WebSocket.OPEN,
    (coded) => this.#publish(coded),
  );
  #allowed = 0; // camera pictures, in all
  #sent = 0;

  #renderer;
  #done = 0; // pictures from the server
  #isVp8Wanted = false;

  #liveness;
  /** @type {{id: string, at: number} | null} */
  #asked = null;
  /** @type {number | null} */
  #roundTripMs = null;

  /**
   * @param {import("../lifecycle/liveness.js").Handlers} handlers
   * @param {boolean} isLed the server names another one that takes the pictures
   */
  constructor(handlers, isLed = false) {
    this.#handlers = handlers;
    this.#isLed = isLed;
    const stop = () => {
      this.#camera.stop();
      this.#renderer.stop();
    };
    this.#liveness = new Liveness(handlers, () => this.#ping(), stop, () => this.#socket?.close(KEPT), () => this.session);
    this.#renderer = new FrameRenderer(
      (stream) => this.#handlers.onTrack(stream),
      () => this.#pictureDone(),
      (isForGood) => this.#requestCodec(isForGood ? JPEG : VP8),
    );
  }

  /** Its id at the server, once that has told it. */
  get session() {
    return this.#session;
  }

  /**
   * Resolves once the server has let this page in. Give each connection one open().
   * @param {MediaStreamTrack} cameraTrack
   * @param {RTCIceServer[]} _iceServers not needed here
   * @param {string | null} former id of a session that was lost
   */
  async open(cameraTrack, _iceServers, former = null) {
    this.#isVp8Wanted = await canDecodeVp8();
    if (this.#liveness.hasEnded) return;
    let code = await this.#enter(former);
    if (former && code === GONE) code = await this.#enter(null);
    if (this.#liveness.hasEnded || code !== null) return;
    this.#camera.setTrack(cameraTrack);
    this.#liveness.begin();
  }

  /** @param {object} message @returns {boolean} sent */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** @param {MediaStreamTrack} cameraTrack */
  async replaceCamera(cameraTrack) {
    this.#camera.setTrack(cameraTrack);
  }

  /** @param {{width: number, height: number}} model */
  async limitUpload(model) {
    this.#camera.setModelSize(model);
  }

  /** As far as there is such a thing here, in the words of getStats(). @returns {Promise<Map<string, any> | null>} */
  async reports() {
    if (this.#liveness.hasEnded || !this.#renderer.shown) return null;
    const { shown, dropped, decodeMs } = this.#renderer;
    const { encoded, encodeMs } = this.#camera;
    const inbound = { type: "inbound-rtp", kind: "video", framesDecoded: shown, framesDropped: dropped, totalDecodeTime: decodeMs / 1000 };
    const link = { type: "websocket", roundTripMs: this.#roundTripMs, encodeMs: encoded ? encodeMs / encoded : null };
    return new Map(Object.entries({ inbound, link }));
  }

  /** Ends the session on both sides, and waits for the server's. Safe to call twice, and after onLost: it may be keeping it. */
  async close() {
    const wasOpen = this.#socket?.readyState === WebSocket.OPEN;
    const session = this.#session;
    this.#liveness.end();
    this.#socket?.close(OK);
    this.#session = null;
    if (!wasOpen && session) await sendDelete(`whip/${session}`);
  }

  /** As close(), while the page is going away. */
  leave() {
    void this.close();
  }

  /**
   * @param {string | null} former
   * @returns {Promise<number | null>} null once the server has let us in; GONE: it does not know that session any more
   * @throws {ConnectError}
   */
  async #enter(former) {
    const url = this.#isLed ? await ledTo(former) : address(former);
    if (this.#liveness.hasEnded) return null;
    return new Promise((resolve, reject) => {
      const socket = (this.#socket = new WebSocket(url));
      socket.binaryType = "arraybuffer";
      const limit = setTimeout(() => socket.close(), CONNECT_LIMIT_MS);
      let isIn = false;
      socket.addEventListener("message", ({ data }) => {
        clearTimeout(limit);
        if (!isIn) {
          isIn = true;
          ticketUsed();
          if (this.#isVp8Wanted) this.#requestCodec(VP8);
          this.#giveCredit();
          resolve(null); // what is refused is closed without a word
        }
        this.#take(data);
      });
      socket.addEventListener("close", ({ code, reason }) => {
        clearTimeout(limit);
        if (isIn) this.#closed(code, reason);
        else if (this.#liveness.hasEnded || (code === GONE && former)) resolve(code);
        else reject(closed(code, reason));
      });
    });
  }

  /** @param {string | ArrayBuffer} data */
  #take(data) {
    if (this.#liveness.hasEnded) return;
    if (typeof data === "string") return this.#hear(data);
    this.#liveness.heard();
    const frame = decodeFrame(data);
    switch (frame?.kind) {
      case CREDIT: return void (this.#allowed = frame.sequence);
      case CODEC_REQUEST: return void this.#camera.setCodec(frame.sequence);
      case JPEG: return this.#renderer.showJpeg(frame.payload, frame.skipped);
      case VP8: return this.#renderer.showVp8(frame.payload, frame.skipped);
      default: console.warn("picture from the server ignored: of a kind that this page does not know");
    }
  }

  /** @param {string} data */
  #hear(data) {
    const message = this.#liveness.read(data);
    if (!message) return;
    if (message.type === "telemetry") return this.#handlers.onTelemetry(message);
    if (message.type === "hello") this.#session = message.session;
    if (this.#asked && message.type === "pong" && message.id === this.#asked.id) this.#roundTripMs = performance.now() - this.#asked.at;
    this.#handlers.onMessage(message);
  }

  #ping() {
    const message = ping();
    this.#asked = { id: message.id, at: performance.now() };
    this.send(message);
  }

  /** @param {import("./camera_encoder.js").CodedFrame} coded */
  #publish({ kind, data, timestampUs, skipped }) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(encodeFrame(kind, this.#sent, { timestampUs, skipped, payload: data }));
    this.#sent += 1;
  }

  #pictureDone() {
    this.#done += 1;
    this.#giveCredit();
  }

  #giveCredit() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(encodeFrame(CREDIT, this.#done + DOWNLOAD_WINDOW));
  }

  /** What the server's pictures shall be from now on. @param {number} kind VP8, beginning with a key frame, or JPEG */
  #requestCodec(kind) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(encodeFrame(CODEC_REQUEST, kind));
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    if (LOST_CODES.includes(code)) return this.#liveness.lose();
    this.#session = null; // gone already
    this.#liveness.lose(`The server ended the stream${reason ? `: ${reason}` : ""}.`, "over");
  }
}

/**
 * Where the server leads this page: to a place that it holds for it for some seconds.
 * @param {string | null} former
 * @returns {Promise<URL>}
 * @throws {ConnectError}
 */
async function ledTo(former) {
  const own = address(former);
  own.protocol = location.protocol;
  let response;
  try {
    response = await fetch(own);
  } catch {
    throw new ConnectError(NO_ANSWER, { retryAfter: 0 });
  }
  if (response.status === LED) return new URL((await response.json()).url);
  throw refusal(response, (await response.text()).trim());
}

/** @param {string | null} former */
function address(former) {
  const url = new URL(`ws?${new URLSearchParams(former ? { session: former } : { ticket: queueTicket() })}`, document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

/** @param {number} code @param {string} reason the server's own words */
function closed(code, reason) {
  if (code === FULL) holdTicket();
  switch (code) {
    case FULL: return new ConnectError(queueText(0, reason), { retryAfter: FULL_RETRY_S, isFull: true });
    case NO_MODEL: return noStream(reason);
    case GONE: return new ConnectError("The session is gone.", { retryAfter: 0 });
    default: return new ConnectError(NO_ANSWER, { retryAfter: 0 });
  }
}
