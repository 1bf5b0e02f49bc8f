/** The page's one path: Start -> camera -> connection -> words and pictures -> Stop. */
import { CameraError, listCameras, obstacle, openCamera, watchCameras } from "./camera.js";
import { Commands } from "./commands.js";
import { ConnectError, Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Gallery } from "./gallery.js";
import { View } from "./view.js";

const SERVER_POLL_MS = 2000;
const FIGURES_MS = 1000;
const STALL_NOTICED_S = 2;

const CONNECTING = "Connecting to the server.";
const STATE_WORDS = {
  warming: (detail) => sentence(detail || "warming up the model"),
  waiting: (detail) => sentence(detail || "waiting for pictures from the camera"),
  live: () => "Live",
  failed: (detail) => `The server could not go on: ${detail}`,
};

/** One press of Start: its camera track and connection. Null while stopped; a newer one makes an older one stale. */
let attempt = null;
let server = null; // the last answer of api/info
let serverWords = ""; // what was last said about it, so that it is said once
let serverState = null; // the last `state` message, for when an interruption has passed

const view = new View(document);
const element = (id) => document.getElementById(id);
const commands = new Commands(
  (message) => attempt?.connection?.send(message) ?? false,
  (report) => view.command(report),
);
const gallery = new Gallery(element("looks"), element("looks-list"), (prompt) => controls.pickPrompt(prompt));
const controls = new Controls(
  {
    promptForm: element("prompt-form"),
    prompt: element("prompt"),
    strength: element("strength"),
    strengthValue: element("strength-value"),
    reset: element("reset"),
  },
  (message, label) => commands.issue(message, label),
  (words) => view.command({ stage: "notice", words }),
  (prompt) => gallery.mark(prompt),
);

async function start() {
  const mine = (attempt = { camera: null, connection: null, modelSize: null });
  view.problem("");
  view.phase("asking", "Asking for the camera. Your browser may show a question: choose Allow.");
  try {
    mine.camera = await openCamera(element("camera").value);
    if (attempt !== mine) return release(mine);
    showCamera(mine.camera);
    view.phase("connecting", CONNECTING);
    mine.connection = new Connection(handlers(mine));
    await mine.connection.open(mine.camera, server?.ice_servers ?? []);
  } catch (error) {
    if (attempt !== mine) return release(mine);
    const isExpected = error instanceof CameraError || error instanceof ConnectError;
    stop("Stopped.", isExpected ? error.message : `The connection could not be made: ${error.message}`);
    if (!isExpected) throw error; // ours: let the console show where
  }
}

/** Ends the running attempt, whatever it has reached. @param {string} problem empty when the person asked for it */
function stop(words = "Stopped. Press Start to go on.", problem = "") {
  if (!attempt) return;
  release(attempt);
  attempt = null;
  serverState = null;
  commands.clear();
  view.showOutput(null);
  view.showCamera(null);
  view.clearFigures();
  view.phase("idle", words);
  view.problem(problem);
}

function release({ camera, connection }) {
  camera?.stop();
  connection?.close();
}

function handlers(mine) {
  return {
    onTrack: (stream) => view.showOutput(stream),
    onMessage: (message) => commands.receive(message) || receive(message, mine),
    onTelemetry: (message) => view.telemetry(message),
    onInterrupted: () => view.phase("interrupted", "Connection interrupted. Waiting for it to come back."),
    onRestored: () => showServerState(),
    onLost: (reason) => stop("Stopped.", `${reason} Press Start to connect again.`),
  };
}

function receive(message, mine) {
  if (message.type === "hello") {
    mine.modelSize = message.model;
    view.model(message.model);
    controls.greet(message);
    mine.connection.limitUpload(message.model);
  }
  if (message.type === "state") {
    serverState = message;
    showServerState();
  }
}

function showServerState() {
  if (!serverState) return view.phase("connecting", CONNECTING);
  const { state, detail } = serverState;
  const words = STATE_WORDS[state]?.(detail) ?? `${state}: ${detail}`;
  if (state === "failed") return stop("Stopped.", words);
  view.phase(state, words);
}

function showCamera(track) {
  view.showCamera(new MediaStream([track]));
  track.addEventListener("ended", () => view.problem("The camera was disconnected. Choose another one."));
  refreshCameras(track.getSettings().deviceId); // the names are known once the camera is allowed
}

async function refreshCameras(selectedId) {
  view.cameras(await listCameras(), selectedId);
}

/** The server's details are lower-case clauses; here they stand alone. */
function sentence(clause) {
  return `${clause[0].toUpperCase()}${clause.slice(1)}.`;
}

/** Another camera without ending the stream. The old one is stopped first: phones open one at a time. */
async function switchCamera() {
  const mine = attempt;
  if (!mine?.camera) return;
  mine.camera.stop();
  view.problem("");
  try {
    mine.camera = await openCamera(element("camera").value);
  } catch (error) {
    if (!(error instanceof CameraError)) throw error;
    return view.problem(error.message);
  }
  if (attempt !== mine) return release(mine);
  showCamera(mine.camera);
  await mine.connection?.replaceCamera(mine.camera);
  if (mine.modelSize) await mine.connection.limitUpload(mine.modelSize);
}

/** While stopped, say whether the server is there, ready and free. */
async function askServer() {
  if (attempt) return;
  try {
    server = await (await fetch("api/info")).json();
  } catch {
    server = null;
  }
  if (attempt) return;
  showServer();
}

function showServer() {
  if (server?.model) {
    view.model(server.model);
    gallery.show(server.looks);
  }
  if (server) controls.suggestPrompt(server.default_prompt);
  const { words, problem } = describe(server);
  if (words + problem === serverWords) return; // said already; something newer may stand there now
  if (serverWords || problem) view.problem(problem);
  serverWords = words + problem;
  view.phase("idle", words);
}

function describe(info) {
  if (!info) return { words: "No server.", problem: "The server does not answer. Check that it is still running." };
  if (!info.ready) return { words: `The server is not ready: ${info.reason}`, problem: "" };
  if (info.sessions >= info.max_sessions) return { words: "The server is full: Start may be refused.", problem: "" };
  return { words: "Ready. Press Start to send your camera.", problem: "" };
}

/** Once a second: what really arrives here, so that "Live" is never said over a frozen picture. */
async function measure(previous) {
  const now = performance.now();
  const received = (await attempt?.connection?.received()) ?? null;
  let stalledSeconds = 0;
  if (received && previous.received) {
    const seconds = (now - previous.now) / 1000;
    const fps = Math.max(0, received.frames - previous.received.frames) / seconds;
    stalledSeconds = fps > 0 ? 0 : previous.stalledSeconds + seconds;
    view.received({ ...received, fps });
    if (serverState?.state === "live") showLive(fps, stalledSeconds);
  }
  setTimeout(measure, FIGURES_MS, { now, received, stalledSeconds });
}

function showLive(fps, stalledSeconds) {
  if (document.body.dataset.phase !== "live") return;
  const isStalled = stalledSeconds >= STALL_NOTICED_S;
  view.phase("live", isStalled ? "Live, but no new picture is arriving" : "Live");
  view.rate(isStalled ? null : fps);
}

element("start").addEventListener("click", start);
element("stop").addEventListener("click", () => stop());
element("camera").addEventListener("change", switchCamera);
window.addEventListener("pagehide", () => {
  attempt?.connection?.leave();
  stop();
});
watchCameras(() => refreshCameras());

view.problem(obstacle() ?? "");
refreshCameras();
askServer();
setInterval(askServer, SERVER_POLL_MS);
measure({ now: performance.now(), received: null, stalledSeconds: 0 });
