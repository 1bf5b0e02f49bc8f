/**
 * One session with the server: WHIP signalling, the camera track up, the generated track down, two data channels.
 *
 *   const connection = new Connection({ onTrack, onMessage, onTelemetry, onInterrupted, onRestored, onLost });
 *   await connection.open(cameraTrack, iceServers);   // throws ConnectError with words for the person
 *   connection.send(message);
 *   connection.close();                               // after close() or onLost no handler is called again
 *   connection.leave();                               // instead of close(), while the page is going away
 */
import { ProtocolError, decode, ping } from "./protocol.js";

const GATHERING_LIMIT_MS = 1500; // without a time limit a browser that gathers nothing would wait for ever
const CONNECT_LIMIT_MS = 15000;
const DELETE_LIMIT_MS = 3000;
const HEARTBEAT_MS = 2000;
const SILENCE_NOTICED_MS = 6000;
const SILENCE_LOST_MS = 12000;
const UPLOAD_MARGIN = 1.25; // sent picture over model picture: room for the crop, without paying for pixels nobody uses

/** Connecting failed; `message` is written for the person at the page. */
export class ConnectError extends Error {}

export class Connection {
  #handlers;
  #pc = null;
  #sender = null;
  #control = null;
  #resource = null; // the session's URL, from Location
  #ended = false;
  #leaving = new AbortController();
  #timers = [];
  #lastHeard = 0;
  #isInterrupted = false;

  constructor(handlers) {
    this.#handlers = handlers;
  }

  /** Resolves once the server has answered; media and channels follow. Give each Connection one open(). */
  async open(cameraTrack, iceServers) {
    const pc = (this.#pc = new RTCPeerConnection({ iceServers }));
    const transceiver = pc.addTransceiver(cameraTrack, { direction: "sendrecv" });
    this.#sender = transceiver.sender;
    keepNothingBack(transceiver.receiver);
    pc.addEventListener("track", ({ track }) => this.#handlers.onTrack(new MediaStream([track])));
    pc.addEventListener("connectionstatechange", () => this.#watchTransport());
    this.#openChannels(pc);

    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc, GATHERING_LIMIT_MS);
    if (this.#ended) return;
    const answer = await this.#publish(pc.localDescription.sdp);
    if (this.#ended) return void this.#deleteSession(); // stopped while the server was answering
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
    this.#timers.push(setTimeout(() => this.#giveUpConnecting(), CONNECT_LIMIT_MS));
  }

  /** False when the control channel is not open; the message was then not sent. */
  send(message) {
    if (this.#control?.readyState !== "open") return false;
    this.#control.send(JSON.stringify(message));
    return true;
  }

  /** Another camera in the running session. */
  async replaceCamera(cameraTrack) {
    await this.#sender?.replaceTrack(cameraTrack);
  }

  /** Shrink the upload to a little more than the model's picture: less to encode here, less to decode there. */
  async limitUpload({ width, height }) {
    const sent = this.#sender?.track?.getSettings();
    if (!sent?.width || !sent?.height) return;
    const shrink = Math.min(sent.width / (width * UPLOAD_MARGIN), sent.height / (height * UPLOAD_MARGIN));
    const parameters = this.#sender.getParameters();
    if (!parameters.encodings?.length) return;
    parameters.encodings[0].scaleResolutionDownBy = Math.max(1, shrink);
    try {
      await this.#sender.setParameters(parameters);
    } catch (error) {
      console.info("upload stays at full size:", error.message); // costs bandwidth, breaks nothing
    }
  }

  /** What this browser received so far, or null before the first frame: counters since the start of the stream. */
  async received() {
    if (this.#ended || !this.#pc) return null;
    for (const report of (await this.#pc.getStats()).values()) {
      if (report.type === "inbound-rtp" && report.kind === "video") {
        return {
          frames: report.framesDecoded ?? 0,
          dropped: report.framesDropped ?? 0,
          packetsLost: report.packetsLost ?? 0,
        };
      }
    }
    return null;
  }

  /** Ends the session on both sides. Safe to call twice. */
  close() {
    if (this.#ended) return;
    this.#ended = true;
    for (const timer of this.#timers) clearTimeout(timer);
    // the server is told first: were the connection closed before, it would find no session left to delete
    this.#deleteSession().finally(() => this.#pc?.close());
  }

  /**
   * As close(), while the page is going away. It could not act on an answer that is still to come, so the offer is
   * taken back: the server drops a session whose answer finds nobody. An answer that was sent but not yet read here
   * slips through, and its session lasts until the server finds it unconnected (its --peer-timeout).
   */
  leave() {
    this.#leaving.abort();
    this.close();
  }

  #openChannels(pc) {
    this.#control = pc.createDataChannel("control");
    this.#control.addEventListener("open", () => this.#startHeartbeat());
    this.#control.addEventListener("close", () => this.#serverLeft());
    this.#control.addEventListener("message", ({ data }) => this.#hear(data, this.#handlers.onMessage));
    const telemetry = pc.createDataChannel("telemetry", { ordered: false, maxRetransmits: 0 });
    telemetry.addEventListener("message", ({ data }) => this.#hear(data, this.#handlers.onTelemetry));
  }

  #hear(data, handler) {
    if (this.#ended) return;
    this.#lastHeard = performance.now();
    this.#setInterrupted(false);
    try {
      handler(decode(data));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      console.warn("message from the server ignored:", error.message);
    }
  }

  async #publish(offer) {
    let response;
    try {
      response = await fetch("whip", {
        method: "POST",
        headers: { "Content-Type": "application/sdp" },
        body: offer,
        signal: this.#leaving.signal,
      });
    } catch {
      throw new ConnectError("The server does not answer. Check that it is still running, then press Start.");
    }
    const isCreated = response.status === 201;
    // noted before the body is read: from here on close() can delete the session
    if (isCreated) this.#resource = new URL(response.headers.get("Location"), response.url).href;
    const body = await response.text();
    if (!isCreated) throw new ConnectError(refusal(response, body.trim()));
    return body;
  }

  async #deleteSession() {
    if (!this.#resource) return;
    const resource = this.#resource;
    this.#resource = null;
    try {
      // keepalive lets the request outlive the page
      await fetch(resource, { method: "DELETE", keepalive: true, signal: AbortSignal.timeout(DELETE_LIMIT_MS) });
    } catch {
      // an unreachable server ends the session by itself, for want of a heartbeat
    }
  }

  #startHeartbeat() {
    if (this.#ended) return;
    this.#lastHeard = performance.now();
    this.send(ping());
    this.#timers.push(setInterval(() => this.#beat(), HEARTBEAT_MS));
  }

  #beat() {
    this.send(ping());
    const silence = performance.now() - this.#lastHeard;
    if (silence > SILENCE_LOST_MS) this.#lose("The connection to the server was lost.");
    else if (silence > SILENCE_NOTICED_MS) this.#setInterrupted(true);
  }

  #watchTransport() {
    switch (this.#pc.connectionState) {
      case "disconnected": return this.#setInterrupted(true);
      case "connected": return this.#setInterrupted(false);
      case "failed": return this.#lose(this.#lastHeard ? "The connection to the server was lost." : NO_MEDIA_PATH);
    }
  }

  #giveUpConnecting() {
    if (!this.#lastHeard) this.#lose(NO_MEDIA_PATH);
  }

  #setInterrupted(isInterrupted) {
    if (this.#ended || isInterrupted === this.#isInterrupted) return;
    this.#isInterrupted = isInterrupted;
    if (isInterrupted) this.#handlers.onInterrupted();
    else this.#handlers.onRestored();
  }

  #serverLeft() {
    this.#resource = null; // gone already
    this.#lose("The server ended the stream.");
  }

  #lose(reason) {
    if (this.#ended) return;
    this.close();
    this.#handlers.onLost(reason);
  }
}

/** Show each frame when it comes: the server already paces them, and a second buffer only adds latency. */
function keepNothingBack(receiver) {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
}

const NO_MEDIA_PATH =
  "The server answers, but no video path to it was found. A firewall between you and the server may block UDP.";

/** Words for a refused offer. The server's plain-text reason is for people, so it is shown as it is. */
function refusal(response, reason) {
  const wait = response.headers.get("Retry-After");
  if (response.status === 503 && wait) {
    return `The server is full: ${reason || "every place is taken"} Try again in ${wait} s.`;
  }
  if (response.status === 503) return `The server cannot take a stream: ${reason}`;
  return `The server refused the connection (${response.status}): ${reason}`;
}

/** Resolves when every ICE candidate is known, or when the limit has passed. */
function gathered(pc, limitMs) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, limitMs);
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
  });
}
