/**
 * Shape of the picture: the camera's, unless the person chose one; and how a camera of another shape is shown. A stream
 * that is turned begins anew, so a phone that is just being turned is waited for.
 */
import { setShape } from "../protocol.js";
import { place, select, setText, video } from "../page/dom.js";

const STEADY_MS = 700; // so long the camera's shape stays before a running stream is turned for it
const CLEARLY = 1.1; // one side over the other: what is nearly square turns nothing
const TURNS = "Another shape starts the picture again.";
const TURNS_NOT = "The picture of this model cannot be turned.";

/** @typedef {import("../protocol.js").Orientation} Orientation */
/** @typedef {import("../protocol.js").ShapeState} ShapeState */

export class Shape {
  #desired;
  #commands;
  #http;
  #askCamera;
  #camera = video("input");
  #timer = 0;
  /** @type {boolean | null} the camera's, as long as it is known */
  #isCameraUpright = null;
  /** @type {{width: number, height: number, can_turn: boolean} | null} */
  #model = null;
  #asked = ""; // last, as JSON; empty: never, and the server has its own
  #askedUpright = false; // of the camera

  /**
   * @param {import("../session/desired_state.js").DesiredState} desired
   * @param {import("../session/commands.js").Commands} commands
   * @param {{id: string | null}} http its session runs
   * @param {() => void} askCamera open it again, as `asksUpright` says now
   */
  constructor(desired, commands, http, askCamera) {
    this.#desired = desired;
    this.#commands = commands;
    this.#http = http;
    this.#askCamera = askCamera;
    this.#camera.addEventListener("resize", () => this.#look());
    for (const id of ["shape", "fit"]) select(id).addEventListener("change", () => this.#choose());
  }

  /** Whether the camera is to be asked for upright pictures. A phone held upright gives them by itself. */
  get asksUpright() {
    return select("shape").value === "upright" && select("fit").value === "fill" && matchMedia("(orientation: landscape)").matches;
  }

  /** What can be turned. @param {import("../protocol.js").Model} model */
  model({ width, height, can_turn }) {
    this.#model = { width, height, can_turn: can_turn && width !== height };
    select("shape").disabled = !this.#model.can_turn;
    setText(place("shape-hint"), this.#model.can_turn ? TURNS : TURNS_NOT);
    this.#send();
  }

  /** The server's values, unless they are just being changed here. @param {ShapeState} shape */
  show({ orientation, fit }) {
    document.body.dataset.fit = fit;
    if (this.#commands.isOpen("shape.set")) return;
    select("fit").value = fit;
    if (select("shape").value) select("shape").value = this.#isUpright(orientation) ? "upright" : "wide";
  }

  /** The camera's pictures are of another size. */
  #look() {
    clearTimeout(this.#timer);
    const judge = () => {
      const { videoWidth: width, videoHeight: height } = this.#camera;
      if (height > CLEARLY * width) this.#isCameraUpright = true;
      if (width > CLEARLY * height) this.#isCameraUpright = false;
      this.#send();
    };
    if (this.#http.id === null) judge();
    else this.#timer = window.setTimeout(judge, STEADY_MS);
  }

  #choose() {
    this.#send();
    if (this.#askedUpright === this.asksUpright) return;
    this.#askedUpright = this.asksUpright;
    this.#askCamera();
  }

  /** What is wanted now, if that is another than was wanted before. */
  #send() {
    if (!this.#model) return; // until it is known
    const chosen = select("shape").value;
    const isUpright = chosen ? chosen === "upright" : this.#isCameraUpright;
    const fit = /** @type {import("../protocol.js").CameraFit} */ (select("fit").value);
    const orientation = isUpright === null ? "wide" : this.#named(isUpright);
    const wanted = { orientation, fit };
    const asked = JSON.stringify(wanted);
    const isUsual = orientation === "wide" && fit === "fill";
    if (asked === this.#asked || (isUsual && !this.#asked)) return;
    this.#asked = asked;
    if (isUsual) this.#desired.undo("shape", "Shape", () => setShape(wanted));
    else this.#desired.set("shape", "Shape", () => setShape(wanted));
  }

  /** `wide` is the model's own size, whatever that is. @param {boolean} isUpright @returns {Orientation} */
  #named(isUpright) {
    if (!this.#model?.can_turn) return "wide";
    return isUpright === this.#isUpright("wide") ? "wide" : "upright";
  }

  /** @param {Orientation} orientation */
  #isUpright(orientation) {
    const isOwnUpright = this.#model !== null && this.#model.height > this.#model.width;
    return (orientation === "upright") !== isOwnUpright;
  }
}
