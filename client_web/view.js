/** Everything the page shows: pictures, the lines that say what is happening, the figures. Decides nothing. */

const STAGES = ["collect", "depth", "encode", "generate", "decode", "pace"]; // those of the table, in index.html

const UNTRAINED = "Untrained model (random weights): its pictures do not follow the prompt yet.";
const NO_FIGURE = "–";

export class View {
  #document;
  #at;

  /** @param {Document} document the page of index.html */
  constructor(document) {
    this.#document = document;
    const at = (id) => document.getElementById(id);
    this.#at = {
      body: document.body,
      input: at("input"), output: at("output"),
      start: at("start"), stop: at("stop"), camera: at("camera"), mirror: at("mirror"),
      words: at("words"), rate: at("rate"), command: at("command"), problem: at("problem"),
      model: at("model"), modelNote: at("model-note"),
    };
    this.#at.output.addEventListener("resize", () => this.#fitStage());
    this.#at.output.addEventListener("playing", () => (this.#at.body.dataset.picture = "on"));
    this.#at.mirror.addEventListener("change", () => this.#mirror());
    if (/Mac|iPhone|iPad/.test(navigator.platform)) at("prompt-modifier").textContent = "⌘";
  }

  /**
   * What is happening now, in words. The phase also drives colours and which of Start and Stop is offered.
   * @param {"idle"|"asking"|"connecting"|"warming"|"waiting"|"live"|"interrupted"|"failed"} phase
   */
  phase(phase, words) {
    const { body, rate } = this.#at;
    body.dataset.phase = phase;
    if (phase !== "live") rate.textContent = "";
    setText(this.#at.words, words);
    this.#offer(phase === "idle" ? "start" : "stop");
  }

  /** Frames per second beside "Live"; hidden from screen readers, which would read it every second. */
  rate(fps) {
    this.#at.rate.textContent = fps === null ? "" : ` at ${formatFps(fps)} fps`;
  }

  /** The newest command's life; empty words take the line away. @param {{label: string, stage: string, words: string}} report */
  command({ stage, words, ...figures }) {
    const line = this.#at.command;
    for (const name of Object.keys(line.dataset)) delete line.dataset[name];
    Object.assign(line.dataset, { stage, ...figures });
    setText(line, !words || /[.!?]$/.test(words) ? words : `${words}.`);
  }

  /** What is wrong and what to do about it; empty words take the line away. */
  problem(words) {
    setText(this.#at.problem, words);
  }

  /** Which model paints, from /api/info or hello. */
  model({ name, trained, about, width, height, depth, device }) {
    const { model, modelNote, body } = this.#at;
    setText(model, `${name} ${width} × ${height}, depth from ${depth}, on ${device}`);
    setText(modelNote, trained ? about : UNTRAINED);
    modelNote.dataset.trained = String(trained);
    body.style.setProperty("--ratio", String(width / height));
  }

  /** @param {{id: string, label: string}[]} cameras */
  cameras(cameras, selectedId) {
    const { camera } = this.#at;
    const wanted = selectedId || camera.value;
    const options = cameras.map(({ id, label }) => new Option(label, id));
    camera.replaceChildren(...(options.length ? options : [new Option("Default camera", "")]));
    if (cameras.some(({ id }) => id === wanted)) camera.value = wanted;
  }

  /** The camera's own picture, or null when it is off. */
  showCamera(stream) {
    this.#at.input.srcObject = stream;
    this.#at.body.dataset.camera = stream ? "on" : "off";
  }

  /** The picture from the server, or null when there is none. */
  showOutput(stream) {
    this.#at.output.srcObject = stream;
    if (!stream) this.#at.body.dataset.picture = "off";
  }

  /** What this browser received: frames per second shown, frames it had to drop, packets that never came. */
  received({ fps, dropped, packetsLost }) {
    this.#figure("figure-shown", `${formatFps(fps)} fps`);
    this.#figure("figure-lost", `${packetsLost} packets, ${dropped} frames`);
  }

  /** One telemetry message of the server. */
  telemetry({ fps, latency_ms: latency, dropped, chunk }) {
    if (typeof fps === "number") this.#figure("figure-generated", `${formatFps(fps)} fps`);
    if (typeof chunk === "number") this.#figure("figure-chunk", String(chunk));
    this.#figure("figure-dropped", summarise(dropped));
    for (const stage of [...STAGES, "total"]) {
      const ms = latency[stage];
      this.#figure(`stage-${stage}`, typeof ms === "number" ? `${Math.round(ms)} ms` : NO_FIGURE);
    }
    for (const stage of STAGES) {
      this.#document.getElementById(`meter-${stage}`).value = latency.total ? (latency[stage] ?? 0) / latency.total : 0;
    }
  }

  /** No stream, no figures: old ones would pass for current. */
  clearFigures() {
    for (const figure of this.#document.querySelectorAll("#figures dd, #figures td:last-child")) {
      setText(figure, NO_FIGURE);
    }
    for (const meter of this.#document.querySelectorAll("#figures meter")) meter.value = 0;
  }

  #offer(name) {
    const { start, stop } = this.#at;
    const [shown, hidden] = name === "start" ? [start, stop] : [stop, start];
    if (!shown.hidden) return;
    const hadFocus = this.#document.activeElement === hidden;
    shown.hidden = false;
    hidden.hidden = true;
    if (hadFocus) shown.focus(); // a hidden button would drop a keyboard user back to the top of the page
  }

  #fitStage() {
    const { output, body } = this.#at;
    if (output.videoWidth) body.style.setProperty("--ratio", String(output.videoWidth / output.videoHeight));
  }

  #mirror() {
    this.#at.body.dataset.mirror = this.#at.mirror.checked ? "on" : "off";
  }

  #figure(id, text) {
    setText(this.#document.getElementById(id), text);
  }
}

/** Writing only what changed keeps screen readers quiet: a live region announces every write. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function formatFps(fps) {
  return fps >= 9.95 ? fps.toFixed(0) : fps.toFixed(1);
}

/** {"camera": 3, "late": 0} -> "camera 3", or "none". */
function summarise(counts) {
  const named = Object.entries(counts).filter(([, count]) => count > 0);
  return named.map(([name, count]) => `${name.replaceAll("_", " ")} ${count}`).join(", ") || "none";
}
