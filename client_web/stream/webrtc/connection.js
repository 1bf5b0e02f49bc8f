/**
 * WebRTC connection to the server: WHIP signalling, the camera track up, the generated track down, two data channels.
 *
 *   const connection = new WebRtcConnection({ onTrack, onSound, onMessage, onTelemetry, onInterrupted, onRestored, onLost });
 *   await connection.open(cameraTrack, iceServers);   // throws ConnectError with words for the person
 *   connection.send(message);
 *   connection.close();                               // after close() or onLost no handler is called again
 *   connection.leave();                               // instead of close(), while the page is going away
 */
import { ping } from "../../protocol.js";
import { Liveness } from "../lifecycle/liveness.js";
import { received } from "./stats.js";
import { WhipSession } from "./whip.js";

/** @typedef {import("../../protocol.js").ServerMessage} ServerMessage */

const GATHERING_LIMIT_MS = 1500; // without a time limit a browser that gathers nothing would wait for ever
const MEDIA_LIMIT_MS = 5000; // from the answer, and again from the connection, to the first media
const MEDIA_WATCH_MS = 500;
const UPLOAD_MARGIN = 1.25; // sent picture over model picture: room for the crop, without paying for pixels nobody uses

const NO_MEDIA_PATH = "The server answers, but no video comes through.";

export class WebRtcConnection {
  #handlers;
  #whip = new WhipSession();
  /** @type {RTCPeerConnection | null} */
  #pc = null;
  /** @type {RTCRtpSender | null} */
  #sender = null;
  /** @type {RTCRtpSender | null} */
  #microphone = null;
  /** @type {MediaStreamTrack | null} */
  #sound = null;
  /** @type {RTCDataChannel | null} */
  #control = null;
  /** @type {number[]} */
  #timers = [];
  #hasHeard = false;
  #mediaDue = 0; // by then media must have come
  #liveness;

  /** @param {import("../lifecycle/liveness.js").Handlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    const stop = () => this.#timers.forEach((timer) => clearInterval(timer));
    this.#liveness = new Liveness(handlers, () => this.send(ping()), stop, () => this.#pc?.close(), () => this.session);
  }

  /**
   * Resolves once the server has answered; media and channels follow. Give each Connection one open().
   * @param {MediaStreamTrack} cameraTrack
   * @param {RTCIceServer[]} iceServers
   * @param {string | null} former id of a session that was lost
   */
  async open(cameraTrack, iceServers, former = null) {
    const pc = (this.#pc = new RTCPeerConnection({ iceServers }));
    const transceiver = pc.addTransceiver(cameraTrack, { direction: "sendrecv" });
    this.#sender = transceiver.sender;
    keepNothingBack(transceiver.receiver);
    // there from the start, so that the microphone can be turned on without a new offer; nothing is sent before
    this.#microphone = pc.addTransceiver("audio", { direction: "sendrecv" }).sender;
    void this.replaceMicrophone(this.#sound);
    pc.addEventListener("track", ({ track }) => {
      const tell = track.kind === "audio" ? this.#handlers.onSound : this.#handlers.onTrack;
      tell(new MediaStream([track]));
    });
    pc.addEventListener("connectionstatechange", () => this.#watchTransport(pc.connectionState));
    this.#openChannels(pc);

    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc, GATHERING_LIMIT_MS);
    if (this.#liveness.hasEnded) return;
    const answer = await this.#whip.publish(pc.localDescription?.sdp ?? "", former).catch((error) => {
      this.#liveness.end(); // else the end of the channels would count as the server's
      pc.close(); // whoever waits for a place makes one at each try
      throw error;
    });
    if (this.#liveness.hasEnded) return void this.#whip.end(); // stopped while the server was answering
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
    if (this.#liveness.hasEnded) return; // nothing would stop the timer
    this.#expectMedia();
    this.#timers.push(window.setInterval(() => this.#watchMedia(), MEDIA_WATCH_MS));
  }

  /** Its id at the server, once that has told it. */
  get session() {
    return this.#whip.session;
  }

  /** False when the control channel is not open; the message was then not sent. @param {object} message */
  send(message) {
    if (this.#control?.readyState !== "open") return false;
    this.#control.send(JSON.stringify(message));
    return true;
  }

  /** Another camera in the running session. @param {MediaStreamTrack} cameraTrack */
  async replaceCamera(cameraTrack) {
    await this.#sender?.replaceTrack(cameraTrack);
  }

  /** Sound to send, before open() or at any time after it; null: none. @param {MediaStreamTrack | null} sound */
  async replaceMicrophone(sound) {
    this.#sound = sound;
    await this.#microphone?.replaceTrack(sound);
  }

  /** Shrink the upload to a little more than the model's picture: less to encode here, less to decode there. @param {{width: number, height: number}} model */
  async limitUpload({ width, height }) {
    const sent = this.#sender?.track?.getSettings();
    if (!this.#sender || !sent?.width || !sent?.height) return;
    const shrink = Math.min(sent.width / (width * UPLOAD_MARGIN), sent.height / (height * UPLOAD_MARGIN));
    const parameters = this.#sender.getParameters();
    if (!parameters.encodings?.length) return;
    parameters.encodings[0].scaleResolutionDownBy = Math.max(1, shrink);
    try {
      await this.#sender.setParameters(parameters);
    } catch (error) {
      console.info("upload stays at full size:", error); // costs bandwidth, breaks nothing
    }
  }

  /** What this browser measures of the connection, or null when there is none. @returns {Promise<Map<string, any> | null>} */
  async reports() {
    if (this.#liveness.hasEnded || !this.#pc) return null;
    return /** @type {any} */ (await this.#pc.getStats());
  }

  /** Ends the session on both sides, and waits for the server's. Safe to call twice, and after onLost: it may be keeping it. */
  async close() {
    this.#liveness.end();
    // the server is told first: were the connection closed before, it would find no session left to delete
    await this.#whip.end().finally(() => this.#pc?.close());
  }

  /** As close(), while the page is going away. */
  leave() {
    this.#whip.takeBack();
    void this.close();
  }

  /** @param {RTCPeerConnection} pc */
  #openChannels(pc) {
    this.#control = pc.createDataChannel("control");
    this.#control.addEventListener("open", () => {
      this.#hasHeard = true;
      this.#liveness.begin();
    });
    this.#control.addEventListener("close", () => this.#serverLeft());
    this.#control.addEventListener("message", ({ data }) => this.#hear(data, this.#handlers.onMessage));
    const telemetry = pc.createDataChannel("telemetry", { ordered: false, maxRetransmits: 0 });
    telemetry.addEventListener("message", ({ data }) => this.#hear(data, this.#handlers.onTelemetry));
  }

  /** @param {string} data @param {(message: ServerMessage) => void} handler */
  #hear(data, handler) {
    this.#hasHeard = true;
    const message = this.#liveness.read(data);
    if (message) handler(message);
  }

  /** @param {RTCPeerConnectionState} state */
  #watchTransport(state) {
    switch (state) {
      case "disconnected": return this.#liveness.interrupted();
      case "connected":
        this.#expectMedia();
        return this.#liveness.restored();
      case "failed": return this.#hasHeard ? this.#liveness.lose() : this.#liveness.lose(NO_MEDIA_PATH, "blocked");
    }
  }

  #expectMedia() {
    this.#mediaDue = performance.now() + MEDIA_LIMIT_MS;
  }

  /** The server sends pictures from the beginning, whatever its model does: without any, nothing comes through. */
  async #watchMedia() {
    const reports = await this.reports();
    if (this.#liveness.hasEnded || !reports) return;
    if (received(reports)?.frames) this.#mediaDue = Infinity;
    else if (performance.now() > this.#mediaDue) this.#liveness.lose(NO_MEDIA_PATH, "blocked");
  }

  #serverLeft() {
    this.#whip.forget(); // gone already, or it goes on elsewhere: whoever asks for it is told
    this.#liveness.lose("The server ended the stream.");
  }
}

/** Show each frame when it comes: the server already paces them, and a second buffer only adds latency. @param {RTCRtpReceiver} receiver */
function keepNothingBack(receiver) {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
}

/**
 * Resolves when every ICE candidate is known, or when the limit has passed.
 * @param {RTCPeerConnection} pc
 * @param {number} limitMs
 * @returns {Promise<void>}
 */
function gathered(pc, limitMs) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, limitMs);
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
  });
}
