/** The camera's share of the picture: how far it is kept, where by its distance, and a picture to begin with. */
import { reset, setCameraStart, setRegion } from "../protocol.js";
import { button, input, place, select, setText, video } from "../page/dom.js";
import { decodePicture, encoded, frameOf } from "./pictures.js";
import { Sliders } from "./sliders.js";

const LEAST_NOISE = 0.05; // the end of the slider: 0 would leave the model nothing to do
const REGION = /** @type {const} */ (["region-distance", "region-softness"]);

export class CameraShare {
  #desired;
  #commands;
  #http;
  #sliders = new Sliders();

  /**
   * @param {import("../session/desired_state.js").DesiredState} desired
   * @param {import("../session/commands.js").Commands} commands
   * @param {import("../session/session_http.js").SessionHttp} http
   */
  constructor(desired, commands, http) {
    this.#desired = desired;
    this.#commands = commands;
    this.#http = http;
    this.#sliders.on("keep", () => this.#sendStart("Keep the camera"));
    input("keep-motion").addEventListener("change", () => this.#sendStart("Keep by motion"));
    for (const name of REGION) this.#sliders.on(name, () => this.#sendRegion());
    select("region-side").addEventListener("change", () => this.#sendRegion());
    const file = input("begin-file");
    button("begin-choose").addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      const chosen = file.files?.[0];
      if (chosen) void this.#begin(() => decodePicture(chosen));
      file.value = ""; // the same file may be chosen again
    });
    for (const id of /** @type {const} */ (["input", "output"])) {
      button(`begin-${id}`).addEventListener("click", () => void this.#begin(async () => frameOf(video(id))));
    }
  }

  /** What a new stream begins with: from now on it can be changed. @param {import("../protocol.js").Defaults} defaults */
  begin(defaults) {
    for (const name of ["keep", "keep-motion", ...REGION]) input(name).disabled = false;
    select("region-side").disabled = false;
    this.#showStart(defaults.camera_start);
    this.#sliders.show("region-distance", 0.5);
    this.#sliders.show("region-softness", 0.1);
    this.#showSide("");
  }

  /** The server's values, unless they are just being changed here. @param {{camera_start: import("../protocol.js").CameraStart, region: import("../protocol.js").Region | null}} settings */
  show({ camera_start, region }) {
    if (!this.#commands.isOpen("camera_start.set") && !this.#sliders.isDragged(["keep"])) this.#showStart(camera_start);
    if (this.#commands.isOpen("region.set") || this.#sliders.isDragged(REGION)) return;
    this.#showSide(region?.side ?? "");
    if (!region) return; // the sliders stay where they are, for the next time
    this.#sliders.show("region-distance", region.distance);
    this.#sliders.show("region-softness", region.softness);
  }

  /** @param {import("../protocol.js").ServerMessage} telemetry */
  telemetry({ noise_scale: scale }) {
    const isMoving = input("keep-motion").checked && input("keep").valueAsNumber > 0;
    setText(place("keep-effective"), isMoving && typeof scale === "number" ? `Now ${(1 - scale).toFixed(2)}.` : "");
  }

  /** @param {string} label */
  #sendStart(label) {
    const noise_scale = Math.max(LEAST_NOISE, Number((1 - input("keep").valueAsNumber).toFixed(2)));
    const follows_motion = input("keep-motion").checked;
    this.#desired.setLast("camera_start", label, () => setCameraStart({ noise_scale, follows_motion }));
  }

  #sendRegion() {
    const side = /** @type {"" | "near" | "far"} */ (select("region-side").value);
    this.#showSide(side);
    if (!side) return this.#desired.undo("region", "Distance", () => setRegion(null));
    const [distance, softness] = REGION.map((name) => input(name).valueAsNumber);
    this.#desired.set("region", "Distance", () => setRegion({ distance, side, softness }));
  }

  /** The stream begins again, from a picture. @param {() => Promise<HTMLCanvasElement>} take */
  async #begin(take) {
    try {
      const id = await this.#http.upload(await encoded(await take()));
      setText(place("begin-words"), "");
      this.#desired.once("Start picture", reset(id));
    } catch (error) {
      setText(place("begin-words"), error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {import("../protocol.js").CameraStart} start */
  #showStart({ noise_scale, follows_motion }) {
    this.#sliders.show("keep", Number((1 - noise_scale).toFixed(2)));
    input("keep-motion").checked = follows_motion;
  }

  /** @param {string} side */
  #showSide(side) {
    select("region-side").value = side;
    place("region-tools").hidden = !side;
  }
}
