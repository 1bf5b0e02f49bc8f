/**
 * Stream of this page: Start -> source -> connection -> pictures -> Stop, and reconnection by itself when the
 * connection is lost. Decides; shows nothing. Connections are made in webrtc/, and in websocket/ where UDP is blocked;
 * lifecycle/ holds what both have in common.
 */
import { ASKING, openSource } from "./source.js";
import { SourceError } from "./source_error.js";
import { WebRtcConnection } from "./webrtc/connection.js";
import { WebSocketConnection } from "./websocket/connection.js";
import { giveTicketBack } from "./lifecycle/queue_ticket.js";
import { ConnectError } from "./lifecycle/connect_error.js";
import { retryDelay } from "./lifecycle/backoff.js";
import { sentence } from "../server_text.js";

/**
 * @typedef {import("../protocol.js").ServerMessage} ServerMessage
 * @typedef {import("./source.js").Source} Source
 * @typedef {"idle"|"asking"|"connecting"|"warming"|"waiting"|"live"|"interrupted"|"reconnecting"|"queued"} Phase
 * @typedef {object} Listener
 * @property {(phase: Phase, words: string) => void} phase what is happening now
 * @property {(words: string) => void} problem what is wrong and what to do; empty: nothing
 * @property {(seconds: number | null) => void} countdown until the next try
 * @property {(source: Source | null) => void} source what is sent now
 * @property {() => void} refused what was chosen cannot be sent
 * @property {(stream: MediaStream | null) => void} output
 * @property {(stream: MediaStream | null) => void} sound that comes back; null: this connection carries none
 * @property {(message: ServerMessage) => void} message everything but `state`
 * @property {(message: ServerMessage) => void} telemetry
 * @property {(words: string) => void} way what is unusual about the way to the server; empty: nothing
 * @property {() => void} silent the connection is gone, for now or for good
 *
 * @typedef {object} Attempt one press of Start; a newer one makes an older one stale
 * @property {Source | null} source
 * @property {WebRtcConnection | WebSocketConnection | null} connection
 * @property {boolean} isBlocked no media comes through by WebRTC
 * @property {{width: number, height: number} | null} modelSize of the pictures that the model makes now
 * @property {string | null} session its id at the server, also when it was lost
 * @property {number} losses in a row, since it last was live
 * @property {number} restartsUntil by the page's clock: so long whatever a server says that starts again is not final
 */

const BY_SOCKET = "Video comes through a WebSocket: this network blocks UDP.";
const CONNECTING = "Connecting to the server.";
const RESTART_S = 5; // before it is first asked whether it is back
const RESTART_MS = 300_000; // within which a server that starts again, with a large model, is back
/** @type {Record<string, (detail: string) => string>} */
const STATE_WORDS = {
  warming: (detail) => sentence(detail || "warming up the model"),
  waiting: (detail) => sentence(detail || "waiting for pictures from the camera"),
  live: () => "Live",
  failed: (detail) => `The server could not go on. ${sentence(detail)}`,
};

export class Stream {
  #tell;
  #wanted;
  #way;
  #isSocketWanted;
  /** @type {Attempt | null} */
  #attempt = null;
  /** @type {ServerMessage | null} the last `state`, for when an interruption has passed */
  #state = null;
  #timer = 0;
  /** @type {Promise<void>} */
  #sourceChange = Promise.resolve();
  #sourceRequest = 0;
  /** @type {MediaStreamTrack | null} */
  #microphone = null;
  /** @type {(() => void) | null} */
  #tryNow = null;

  /**
   * @param {Listener} listener
   * @param {() => {choice: import("./source.js").Choice | null} & import("./source.js").Use} wanted what is chosen, and of what use its pictures are
   * @param {() => Promise<{iceServers: RTCIceServer[], leadsSockets: boolean}>} way to the server, asked anew each time
   * @param {boolean} isSocketWanted do not even try WebRTC
   */
  constructor(listener, wanted, way, isSocketWanted = false) {
    this.#tell = listener;
    this.#wanted = wanted;
    this.#way = way;
    this.#isSocketWanted = isSocketWanted;
    window.addEventListener("online", () => this.#tryNow?.());
  }

  get isRunning() {
    return this.#attempt !== null;
  }

  /** What the server last said of this stream, or null. @returns {string | null} */
  get serverState() {
    return this.#state?.state ?? null;
  }

  async start() {
    if (this.#attempt) return;
    /** @type {Attempt} */
    const mine = (this.#attempt = { source: null, connection: null, isBlocked: false, modelSize: null, session: null, losses: 0, restartsUntil: 0 });
    this.#tell.problem("");
    this.#tell.way("");
    this.#tell.phase("asking", ASKING[this.#wanted().choice?.kind ?? "camera"]);
    await this.#guard(mine, async () => {
      mine.source = await this.#open();
      if (this.#attempt !== mine) return release(mine);
      this.#tell.source(mine.source);
      await this.#connect(mine);
    });
  }

  /** Ends the running attempt, whatever it has reached, and waits for the server to hear. @param {string} words @param {string} problem empty when the person asked for it */
  async stop(words = "Stopped. Press Start to go on.", problem = "") {
    if (!this.#attempt) return;
    const released = release(this.#attempt);
    this.#attempt = null;
    this.#clearRetry();
    this.#tell.output(null);
    this.#tell.source(null);
    this.#tell.way("");
    this.#tell.phase("idle", words);
    this.#tell.problem(problem);
    await released;
  }

  /** The page is going away. */
  leave() {
    this.#attempt?.connection?.leave();
    this.stop();
  }

  /** Sound to send from now on, by this connection and those after it; null: none. @param {MediaStreamTrack | null} track */
  setMicrophone(track) {
    this.#microphone = track;
    const connection = this.#attempt?.connection;
    if (connection instanceof WebRtcConnection) void connection.replaceMicrophone(track);
  }

  /** @param {object} message @returns {boolean} sent */
  send(message) {
    return this.#attempt?.connection?.send(message) ?? false;
  }

  /** @returns {Promise<Map<string, any> | null>} */
  async reports() {
    return (await this.#attempt?.connection?.reports()) ?? null;
  }

  /** Another source without ending the stream: the one that is chosen when the changes before are done. */
  switchSource() {
    const request = (this.#sourceRequest += 1);
    const change = () => (request === this.#sourceRequest ? this.#changeSource() : undefined);
    this.#sourceChange = this.#sourceChange.then(change, change);
    return this.#sourceChange;
  }

  /** What was sent goes on until there is another, and if there is none. */
  async #changeSource() {
    const mine = this.#attempt, former = mine?.source;
    if (!mine || !former) return;
    if (former.choice.kind === "camera" && this.#wanted().choice?.kind === "camera") former.close(); // phones open one at a time
    this.#tell.problem("");
    let source;
    try {
      source = await this.#open();
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      this.#tell.problem(error.message);
      if (this.#attempt === mine && !former.isOver) this.#tell.source(former);
      return;
    }
    if (this.#attempt !== mine) return source.close();
    mine.source = source;
    this.#tell.source(source);
    await mine.connection?.replaceCamera(source.track);
    former.close();
    if (mine.modelSize) await mine.connection?.limitUpload(mine.modelSize);
  }

  #open() {
    const { choice, ...use } = this.#wanted();
    return openSource(choice, use);
  }

  /** @param {Attempt} mine */
  async #connect(mine) {
    if (!mine.losses) this.#tell.phase("connecting", CONNECTING);
    if (mine.source?.isOver) {
      mine.source.close();
      mine.source = await this.#open(); // it went while the server was away
      if (this.#attempt !== mine) return release(mine);
      this.#tell.source(mine.source);
    }
    if (!mine.source) return;
    const isSocket = mine.isBlocked || this.#isSocketWanted;
    const { iceServers, leadsSockets } = await this.#way();
    if (this.#attempt !== mine) return release(mine);
    const handlers = this.#handlers(mine);
    mine.connection = isSocket ? new WebSocketConnection(handlers, leadsSockets) : new WebRtcConnection(handlers);
    if (mine.connection instanceof WebRtcConnection) void mine.connection.replaceMicrophone(this.#microphone);
    else this.#tell.sound(null);
    await mine.connection.open(mine.source.track, iceServers, mine.session);
  }

  /** Runs one step of `mine`: what goes wrong is said, and tried again where that may help. @param {Attempt} mine @param {() => Promise<void>} step */
  async #guard(mine, step) {
    try {
      await step();
    } catch (error) {
      if (this.#attempt !== mine) return release(mine);
      if (error instanceof ConnectError && (error.retryAfter !== null || performance.now() < mine.restartsUntil)) return this.#retryLater(mine, error);
      if (error instanceof SourceError) this.#tell.refused();
      const isExpected = error instanceof SourceError || error instanceof ConnectError;
      const words = error instanceof Error ? error.message : String(error);
      this.stop("Stopped.", isExpected ? words : `The connection could not be made: ${words}`);
      if (!isExpected) throw error; // ours: let the console show where
    }
  }

  /** @param {Attempt} mine @param {ConnectError} error */
  #retryLater(mine, error) {
    mine.losses += 1;
    this.#clearRetry();
    const again = () => {
      clearInterval(this.#timer);
      this.#tryNow = null;
      if (this.#attempt !== mine) return;
      this.#tell.countdown(null);
      void this.#guard(mine, () => this.#connect(mine));
    };
    // a place in line is lost by asking too seldom
    let seconds = Math.ceil(retryDelay(error.isFull ? 1 : mine.losses, error.retryAfter ?? 0));
    if (error.isFull) this.#tell.phase("queued", "Waiting for a place at the server.");
    else this.#tell.phase("reconnecting", "Connecting again by itself. What you have set is kept.");
    this.#tell.problem(error.message);
    this.#tell.countdown(seconds);
    this.#tryNow = again;
    this.#timer = window.setInterval(() => {
      seconds -= 1;
      if (seconds > 0) this.#tell.countdown(seconds);
      else again();
    }, 1000);
  }

  /** The session is over, and the server starts again: a new one, once it is back. @param {Attempt} mine @param {string} words */
  #awaitRestart(mine, words) {
    mine.connection?.close();
    mine.connection = mine.session = null;
    mine.restartsUntil = performance.now() + RESTART_MS;
    this.#tell.output(null);
    this.#retryLater(mine, new ConnectError(words, { retryAfter: RESTART_S }));
  }

  /** The session that WebRTC has begun goes on through a WebSocket. @param {Attempt} mine */
  #fallBackToWebSocket(mine) {
    mine.isBlocked = true;
    mine.session = mine.connection?.session ?? mine.session;
    this.#clearRetry();
    this.#tell.way(BY_SOCKET);
    void this.#guard(mine, () => this.#connect(mine));
  }

  #clearRetry() {
    clearInterval(this.#timer);
    this.#tryNow = null;
    this.#state = null;
    this.#tell.countdown(null);
    this.#tell.silent();
  }

  /** @param {Attempt} mine @returns {import("./lifecycle/liveness.js").Handlers} */
  #handlers(mine) {
    return {
      onTrack: (stream) => this.#tell.output(stream),
      onSound: (stream) => this.#tell.sound(stream),
      onMessage: (message) => this.#receive(message, mine),
      onTelemetry: (message) => this.#tell.telemetry(message),
      onInterrupted: () => this.#tell.phase("interrupted", "Connection interrupted. Waiting for it to come back."),
      onRestored: () => this.#showState(mine),
      onLost: (reason, fate) => {
        if (fate === "blocked") return this.#fallBackToWebSocket(mine);
        if (fate === "over") mine.session = null;
        this.#retryLater(mine, new ConnectError(reason, { retryAfter: 0 }));
      },
    };
  }

  /** @param {ServerMessage} message @param {Attempt} mine */
  #receive(message, mine) {
    if (message.type === "state") {
      this.#state = message;
      return this.#showState(mine);
    }
    if (message.type === "hello") {
      mine.modelSize = message.model;
      mine.session = message.session;
      void mine.connection?.limitUpload(message.model);
    }
    if (message.type === "settings") this.#fitUpload(message.shape, mine);
    this.#tell.message(message);
  }

  /** The stream may have been turned. @param {import("../protocol.js").ShapeState} shape @param {Attempt} mine */
  #fitUpload({ width, height }, mine) {
    if (!width || !height || (width === mine.modelSize?.width && height === mine.modelSize.height)) return;
    mine.modelSize = { width, height };
    void mine.connection?.limitUpload(mine.modelSize);
  }

  /** @param {Attempt} mine */
  #showState(mine) {
    if (!this.#state) return this.#tell.phase("connecting", CONNECTING);
    const { state, detail, restarts } = this.#state;
    const words = STATE_WORDS[state]?.(detail) ?? `${state}: ${detail}`;
    if (state === "failed") return restarts ? this.#awaitRestart(mine, words) : this.stop("Stopped.", words);
    if (mine.losses) {
      mine.losses = 0;
      this.#tell.problem("");
    }
    this.#tell.phase(state, words);
  }
}

/** @param {Attempt} attempt */
async function release({ source, connection }) {
  source?.close();
  await Promise.all([giveTicketBack(), connection?.close()]);
}
