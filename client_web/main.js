/**
 * Wiring of the page: what the person does goes to the stream, what the stream tells goes to the page.
 *
 *   protocol.js      messages and other values of the wire     server_text.js   the server's reasons as sentences
 *   stream/          sources, connection, and connecting again  session/         commands, what is set, HTTP, api/info
 *   page/            elements, views, limits, shortcuts        controls/        what the person sets, panel by panel
 *   signal/          figures of the running stream             style/           style sheets
 */
import { Commands } from "./session/commands.js";
import { ServerInfoPoller, describe } from "./session/server_info.js";
import { SessionHttp } from "./session/session_http.js";
import { Stream } from "./stream/stream.js";
import { DesiredState, KEPT } from "./session/desired_state.js";
import { isAllowed, obstacle } from "./stream/camera.js";
import { CameraShare } from "./controls/camera_share.js";
import { Dials } from "./controls/dials.js";
import { Gallery } from "./controls/gallery.js";
import { Mask } from "./controls/mask.js";
import { PromptBox } from "./controls/prompt_box.js";
import { References } from "./controls/references.js";
import { Setup } from "./controls/setup.js";
import { SourceList } from "./controls/source_list.js";
import { SetupFiles } from "./controls/setup_files.js";
import { Shape } from "./controls/shape.js";
import { Timeline } from "./controls/timeline.js";
import { Sound } from "./controls/sound.js";
import { StreamButtons } from "./controls/stream_buttons.js";
import { at, button, input, isPressed } from "./page/dom.js";
import { setLimits } from "./page/limits.js";
import { lastFrame } from "./page/last_frame.js";
import { Login } from "./page/login.js";
import { OutputWindow, hasOpener, initOutputView, isOutputView, toggleFullscreen } from "./page/output_window.js";
import { Shortcuts } from "./page/shortcuts.js";
import { Tabs } from "./page/tabs.js";
import { View } from "./page/view.js";
import { keep, kept } from "./page/storage.js";
import { offerThemes } from "./page/theme.js";
import { SignalPanel } from "./signal/signal_panel.js";

/** @typedef {import("./protocol.js").ServerMessage} ServerMessage */

const LOCKED = "This server asks for a token.";

const view = new View();
const http = new SessionHttp();
const outputWindow = new OutputWindow(hold);

const stream = new Stream(
  {
    phase: (phase, words) => {
      view.phase(phase, words);
      sources.phase(phase);
      if (phase === "idle") streamButtons.stopped();
      sound.phase(phase);
    },
    problem: (words) => view.problem(words),
    countdown: (seconds) => view.countdown(seconds),
    source: showSource,
    refused: () => sources.offerSample(),
    output: showOutput,
    sound: (stream) => sound.returned(stream),
    message: receive,
    telemetry: (message) => {
      signal.telemetry(message);
      dials.telemetry(message);
      cameraShare.telemetry(message);
      timeline.position(message.timeline_position);
    },
    way: (words) => view.way(words),
    silent,
  },
  () => ({ choice: sources.choice, fps: serverInfo.maxFps, isUpright: shape.asksUpright }),
  async () => {
    const info = await serverInfo.ask(); // asked anew: credentials of a relay run out
    return { iceServers: info?.ice_servers ?? [], leadsSockets: info?.leads_sockets ?? false };
  },
  new URLSearchParams(location.search).get("transport") === "ws", // to try it, or to measure it
);

const sources = new SourceList(sourceChosen, () => void stream.start());
const sound = new Sound((track) => stream.setMicrophone(track));
const commands = new Commands(stream, report);
const desired = new DesiredState(commands, http, notice);
const gallery = new Gallery((prompt) => promptBox.pick(prompt));
const promptBox = new PromptBox(desired, notice, (prompt) => gallery.mark(prompt));
const dials = new Dials(desired, commands);
const cameraShare = new CameraShare(desired, commands, http);
const streamButtons = new StreamButtons({ desired, http, commands, view, showHeld });
const timeline = new Timeline(desired, () => at("prompt", HTMLTextAreaElement).value.trim());
const setup = new Setup(desired, commands);
const setupFiles = new SetupFiles(desired, http, {
  read: () => ({ timeline: timeline.draft, mirror: input("mirror").checked, record_side: input("record-side").checked }),
  apply: applyPage,
  show: showParts,
  model: () => serverInfo.modelName,
  notice,
});
const references = new References(desired, http, (files) => setupFiles.open(files));
/** @type {Shape} */
const shape = new Shape(desired, commands, http, () => void (sources.choice?.kind === "camera" && stream.switchSource()));
const mask = new Mask(desired, http);
const signal = new SignalPanel(() => stream.reports(), showRate);
const tabs = new Tabs((panel) => panel === "signal" && signal?.redraw());

const login = new Login(
  () => void serverInfo.ask(),
  () => stream.stop(),
  (words) => view.problem(words),
);

let hasDefaults = false;
/** @type {any} what holds where nothing else is set: the defaults, then what the newest stream had */
let shown = null;
let serverWords = ""; // what was last said about the server, so that it is said once
/** @type {ServerInfoPoller} */
const serverInfo = new ServerInfoPoller(() => !stream.isRunning, showInfo, (info) => {
  if (info) promptBox.suggest(info.default_prompt);
  const { words, problem } = describe(info);
  if (words + problem === serverWords) return; // said already; something newer may stand there now
  if (serverWords || problem) view.problem(problem);
  serverWords = words + problem;
  view.phase("idle", words);
}, askForToken);

function askForToken() {
  serverWords = LOCKED;
  if (!stream.isRunning) view.phase("idle", LOCKED);
  login.show();
}

/** @param {import("./session/server_info.js").ServerInfo} info */
function showInfo({ model, looks, limits, defaults }) {
  if (setLimits(limits)) {
    references.show();
    setup.showLimits();
  }
  if (!hasDefaults) begin(defaults);
  hasDefaults = true;
  if (!model) return;
  if (!stream.isRunning) dials.expect(defaults);
  view.model(model);
  shape.model(model);
  gallery.show(looks);
}

/** What a loaded set-up has of the page itself. @param {import("./session/setup_file.js").PagePart} page */
function applyPage({ timeline: draft, mirror: isMirrored, record_side }) {
  if (draft) timeline.adopt(draft);
  if (record_side !== undefined) input("record-side").checked = record_side;
  if (isMirrored === undefined || isMirrored === input("mirror").checked) return;
  input("mirror").click();
}

/** What was loaded, where no stream tells it. @param {import("./session/setup_file.js").Parts} parts */
function showParts(parts) {
  dials.adopt(parts);
  if (parts.prompt) promptBox.adopt(parts.prompt.prompts ?? [{ text: parts.prompt.text, weight: 1 }]);
  if (stream.isRunning || !shown) return;
  const { guidance, depth, controls, camera_start, steps, latency, seed, output, region } = parts;
  const merged = { ...shown, guidance: { ...shown.guidance, ...guidance }, depth: { ...shown.depth, ...depth }, controls: { ...shown.controls, ...controls } };
  dials.show(merged);
  cameraShare.show({ camera_start: { ...shown.camera_start, ...camera_start }, region: region?.distance == null ? null : region });
  setup.show({ steps: steps?.steps ?? null, latency: latency?.level ?? (steps ? null : shown.latency), seed: seed ?? { mode: "fixed" }, output: { ...shown.output, ...output } });
}

/** What a new stream begins with, until something else is set. @param {import("./protocol.js").Defaults} defaults */
function begin(defaults) {
  shown = defaults;
  promptBox.begin(defaults);
  dials.begin(defaults);
  cameraShare.begin(defaults);
  setup.begin(defaults);
  timeline.begin(defaults);
}

/** @param {ServerMessage} message */
function receive(message) {
  if (commands.receive(message)) return;
  switch (message.type) {
    case "hello": return greet(message);
    case "settings": return show(message);
    case "recording": return streamButtons.recording(message);
  }
}

/** A stream has begun: it gets all that was set before. @param {ServerMessage} hello */
function greet(hello) {
  shape.model(hello.model);
  notice(""); // "sent when the stream starts" is no longer true
  const isResumed = http.last === hello.session;
  if (!isResumed) streamButtons.sessionOver();
  http.begin(hello.session);
  signal.begun(hello.session);
  void serverInfo.ask(); // the model may have been loading until now: its looks were not known
  promptBox.greet(hello.prompt, isResumed);
  dials.greet(hello.guidance_scale);
  desired.replay(isResumed);
}

/** What holds now, by whatever hand. @param {ServerMessage} settings */
function show(settings) {
  shown = settings;
  streamButtons.show(/** @type {any} */ (settings));
  dials.show(/** @type {any} */ (settings));
  cameraShare.show(/** @type {any} */ (settings));
  setup.show(/** @type {any} */ (settings));
  shape.show(settings.shape);
  timeline.show(settings.timeline);
  if (!commands.isOpen("prompt.set")) promptBox.show(settings.prompts);
  const blend = settings.transition;
  view.badge("blend", blend ? `Blending ${blend.done} of ${blend.chunks}` : null);
}

/** @param {import("./session/commands.js").Report} told */
function report(told) {
  view.command(told);
  if (told.type === "prompt.set" && told.stage === "applied") signal.switched(told);
}

/** @param {string} words */
function notice(words) {
  view.command({ stage: "notice", words });
}

/** The connection is gone, for now or for good. */
function silent() {
  const last = lastFrame(at("output", HTMLVideoElement));
  if (last) showOutput(last);
  http.end();
  commands.clear();
  signal.clear();
  dials.clear();
  streamButtons.clear();
  view.badge("blend", null);
}

/** @param {import("./stream/source.js").Source | null} source */
function showSource(source) {
  view.showSent(source?.track ?? null);
  if (!source) return;
  sources.show(source);
  source.track.onended = () => {
    view.problem(sources.ended());
    view.showSent(null);
  };
}

/** @param {string} name */
function sourceChosen(name) {
  if (stream.isRunning) void stream.switchSource();
  else notice(`${name}: ${KEPT}`);
}

/** @param {MediaStream | null} picture */
function showOutput(picture) {
  view.showOutput(picture);
  outputWindow.show(picture);
}

/** "Live" is never said over a frozen picture. @param {number} fps @param {boolean} isStalled */
function showRate(fps, isStalled) {
  if (stream.serverState !== "live" || document.body.dataset.phase !== "live") return;
  const isPaused = isPressed(button("pause"));
  view.phase("live", isPaused ? "Paused" : isStalled ? "Live, but no new picture is arriving" : "Live");
  view.rate(isPaused || isStalled ? null : fps);
}

/** The picture stops, or goes on, on every screen that shows it. @param {boolean} isStill */
function showHeld(isStill) {
  const output = at("output", HTMLVideoElement);
  if (isStill) output.pause();
  else if (output.srcObject) void output.play();
  outputWindow.setHeld(isStill);
}

function hold() {
  if (!button("pause").matches(":disabled")) button("pause").click();
}

function press(/** @type {string} */ id) {
  if (!button(id).matches(":disabled")) button(id).click();
}

function mirror() {
  document.body.dataset.mirror = input("mirror").checked ? "on" : "off";
  outputWindow.show(/** @type {MediaStream | null} */ (at("output", HTMLVideoElement).srcObject));
}

function startOrStop() {
  if (stream.isRunning) stream.stop();
  else void stream.start();
}

function openOutputWindow() {
  if (!outputWindow.open()) view.problem("The browser did not open a window: allow pop-ups for this page, then press Output window.");
}

function initControls() {
  new Shortcuts(
    [
      { keys: ["G"], words: "Start and stop", act: startOrStop },
      { keys: ["Z"], words: "Freeze the camera", act: () => press("freeze") },
      { keys: ["A"], words: "Microphone on and off", act: () => press("microphone") },
      { keys: ["S"], words: "Snapshot", act: () => press("snapshot") },
      { keys: ["R"], words: "Record", act: () => press("record") },
      { keys: ["X"], words: "Reset", act: () => press("reset") },
      { keys: ["/"], words: "Write a prompt", act: () => promptBox.focus() },
      { keys: ["]"], words: "More guidance", act: () => dials.nudge(1) },
      { keys: ["["], words: "Less guidance", act: () => dials.nudge(-1) },
      { keys: ["T"], words: "Play the timeline", act: () => timeline.play() },
      { keys: ["M"], words: "Draw the mask", act: () => (tabs.show("guide"), mask.toggle()) },
      { keys: ["F"], words: "Full screen", act: toggleFullscreen },
      { keys: ["O"], words: "Output window", act: openOutputWindow },
      { keys: [..."123456789"], shown: "1 to 9", words: "The first nine looks", act: (key) => gallery.press(Number(key) - 1) },
    ],
    hold,
  );
  button("start").addEventListener("click", () => void stream.start());
  button("stop").addEventListener("click", () => stream.stop());
  button("fullscreen").addEventListener("click", toggleFullscreen);
  button("open-output-window").addEventListener("click", openOutputWindow);
  input("mirror").addEventListener("change", () => {
    keep("mirror", input("mirror").checked);
    mirror();
  });
  input("mirror").checked = kept("mirror", false) === true;
  mirror();
  offerThemes();
}

async function main() {
  window.addEventListener("pagehide", () => stream.leave());
  if (isOutputView()) initOutputView();
  if (hasOpener()) return; // it gives the picture
  initControls();
  view.problem(obstacle() ?? "");
  serverInfo.begin();
  signal.begin();
  if (!isOutputView()) return;
  if (await isAllowed()) void stream.start();
  else document.addEventListener("click", () => void stream.start());
}

void main();
