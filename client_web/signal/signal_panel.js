/** Figures of the running stream: the bar under the picture, the panel Signal, and what they are made of. */
import { canvas, make, place, setText } from "../page/dom.js";
import { formatFps } from "../page/view.js";
import { link, received } from "../stream/webrtc/stats.js";
import { Graph } from "./graph.js";
import { STAGES, networkMs, stages } from "./latency.js";

const PERIOD_MS = 1000;
const STALL_NOTICED_S = 2;
const NO_FIGURE = "–";

export class SignalPanel {
  #reports;
  #onRate;
  #graph = new Graph(canvas("graph"));
  /** @type {{at: number, received: import("../stream/webrtc/stats.js").Received} | null} */
  #before = null;
  #stalledS = 0;
  /** @type {number | null} */
  #networkMs = null;

  /**
   * @param {() => Promise<Map<string, any> | null>} reports of the connection, null when there is none
   * @param {(fps: number, isStalled: boolean) => void} onRate once a second: what really arrives here
   */
  constructor(reports, onRate) {
    this.#reports = reports;
    this.#onRate = onRate;
    place("stages").replaceChildren(...[...STAGES, { name: "total", title: "Glass to glass" }].map(row));
    place("chain").replaceChildren(...STAGES.map(({ name }) => segment(name)));
  }

  begin() {
    void this.#measure();
  }

  /** The panel has been opened. */
  redraw() {
    this.#graph.draw();
  }

  /** One telemetry message of the server. @param {import("../protocol.js").ServerMessage} message */
  telemetry({ fps, latency_ms: latency, dropped, chunk }) {
    if (typeof fps === "number") figure("figure-generated", `${formatFps(fps)} fps`);
    if (typeof chunk === "number") figure("figure-chunk", String(chunk));
    figure("figure-dropped", summarise(dropped));
    const all = stages(latency, this.#networkMs);
    const longest = Math.max(1, ...STAGES.map(({ name }) => all[name] ?? 0));
    for (const { name } of STAGES) {
      const ms = all[name] ?? 0;
      place(`bar-${name}`).style.setProperty("--share", `${((100 * ms) / longest).toFixed(1)}%`);
      place(`chain-${name}`).style.flexGrow = all.total ? String(ms / all.total) : "0";
      figure(`stage-${name}`, milliseconds(all[name]));
    }
    figure("stage-total", milliseconds(all.total));
    figure("glass", milliseconds(all.total));
    if (all.total !== null) this.#graph.add(performance.now() / 1000, all.total);
    const range = this.#graph.range;
    if (range) figure("graph-words", `The last two minutes: ${milliseconds(range.low)} to ${milliseconds(range.high)}.`);
  }

  /** A stream has begun, or goes on. @param {string} session whoever has it can watch, and control */
  begun(session) {
    figure("figure-session", session);
  }

  /** A prompt switch has shown. @param {import("../session/commands.js").Report} report */
  switched({ latencyMs, tookMs }) {
    if (latencyMs !== undefined && tookMs !== undefined) {
      figure("figure-switch", `${Math.round(latencyMs)} ms, known here after ${Math.round(tookMs)} ms`);
    }
  }

  /** No stream, no figures: old ones would pass for current. */
  clear() {
    for (const element of document.querySelectorAll("#signal dd, #signal td:last-child, #glass")) setText(element, NO_FIGURE);
    for (const { name } of STAGES) {
      place(`bar-${name}`).style.setProperty("--share", "0%");
      place(`chain-${name}`).style.flexGrow = "0";
    }
    this.#graph.clear();
    figure("graph-words", "");
    this.#before = null;
    this.#networkMs = null;
  }

  async #measure() {
    const reports = await this.#reports();
    const now = reports && received(reports);
    if (reports && now) {
      const path = link(reports);
      const at = performance.now() / 1000;
      if (path) figure("figure-connection", path.words);
      if (this.#before) this.#compare(now, this.#before.received, at - this.#before.at, path);
      this.#before = { at, received: now };
    }
    setTimeout(() => this.#measure(), PERIOD_MS);
  }

  /**
   * @param {import("../stream/webrtc/stats.js").Received} now
   * @param {import("../stream/webrtc/stats.js").Received} before
   * @param {number} seconds between them
   * @param {import("../stream/webrtc/stats.js").Link | null} path
   */
  #compare(now, before, seconds, path) {
    const fps = Math.max(0, now.frames - before.frames) / seconds;
    this.#stalledS = fps > 0 ? 0 : this.#stalledS + seconds;
    this.#networkMs = networkMs(path, now, before);
    figure("figure-shown", `${formatFps(fps)} fps`);
    figure("figure-lost", `${now.packetsLost} packets, ${now.dropped} frames`);
    this.#onRate(fps, this.#stalledS >= STALL_NOTICED_S);
  }
}

/** @param {{name: string, title: string}} stage */
function row({ name, title }) {
  const bar = make("span", { className: "bar", id: `bar-${name}` });
  const line = make("tr", { title }, make("th", { scope: "row" }, name), make("td", {}, bar), make("td", { id: `stage-${name}` }, NO_FIGURE));
  if (name !== "total") line.style.setProperty("--stage", `var(--stage-${name})`);
  return line;
}

/** @param {string} name */
function segment(name) {
  const part = make("span", { id: `chain-${name}`, title: name });
  part.style.background = `var(--stage-${name})`;
  return part;
}

/** @param {string} id @param {string} text */
function figure(id, text) {
  setText(place(id), text);
}

/** @param {number | null | undefined} value */
function milliseconds(value) {
  return typeof value === "number" ? `${Math.round(value)} ms` : NO_FIGURE;
}

/** {"camera": 3, "late": 0} -> "camera 3", or "none". @param {Record<string, number>} counts */
function summarise(counts) {
  const named = Object.entries(counts).filter(([, count]) => count > 0);
  return named.map(([name, count]) => `${name.replaceAll("_", " ")} ${count}`).join(", ") || "none";
}
