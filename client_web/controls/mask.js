/** Mask drawn over the picture: generate here, keep the camera there. What is covered on the canvas keeps the camera. */
import { setMask } from "../protocol.js";
import { button, canvas, input, isPressed, context2d, place, press, setText, video } from "../page/dom.js";
import { encoded } from "./pictures.js";

const WIDTH = 640; // of the drawing; the server fits it to the model
const COVER = "#171a1f"; // drawn densely; the style sheet lets the picture shine through

export class Mask {
  #canvas = canvas("mask-canvas");
  #draw = button("mask-draw");
  #desired;
  #http;
  /** @type {{x: number, y: number} | null} where the brush was */
  #last = null;
  /** @type {HTMLCanvasElement | null} as the server has it, whatever shape the picture has got since */
  #sent = null;

  /**
   * @param {import("../session/desired_state.js").DesiredState} desired
   * @param {import("../session/session_http.js").SessionHttp} http
   */
  constructor(desired, http) {
    this.#desired = desired;
    this.#http = http;
    this.#draw.addEventListener("click", () => this.toggle());
    button("mask-clear").addEventListener("click", () => this.#clear());
    button("mask-invert").addEventListener("click", () => this.#preset((context, width, height) => {
      context.globalCompositeOperation = "xor";
      context.fillRect(0, 0, width, height);
    }));
    button("mask-centre").addEventListener("click", () => this.#preset((context, width, height) => {
      context.fillRect(0, 0, width, height);
      context.globalCompositeOperation = "destination-out";
      context.beginPath();
      context.ellipse(width / 2, height / 2, width * 0.3, height * 0.42, 0, 0, 7);
      context.fill();
    }, true));
    button("mask-half").addEventListener("click", () => this.#preset((context, width, height) => {
      // left of what is seen
      context.fillRect(isMirrored() ? 0 : width / 2, 0, width / 2, height);
    }, true));
    video("output").addEventListener("resize", () => this.#fit()); // the page's own ratio is the picture's by then
    this.#canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    this.#canvas.addEventListener("pointermove", (event) => this.#stroke(event));
    for (const end of ["pointerup", "pointercancel"]) this.#canvas.addEventListener(end, () => this.#end());
    const size = input("brush-size");
    size.addEventListener("input", () => setText(place("brush-size-value"), `${size.value} %`));
  }

  /** Draw, or be done with drawing. */
  toggle() {
    const isOn = !isPressed(this.#draw);
    press(this.#draw, isOn);
    setText(this.#draw, isOn ? "Done drawing" : "Draw on the picture");
    place("mask-tools").hidden = !isOn;
    this.#canvas.hidden = !isOn;
    if (isOn) this.#fit();
  }

  /** The canvas takes the picture's shape. What was drawn in another one is fitted to it, as the server does. */
  #fit() {
    const ratio = Number(getComputedStyle(document.body).getPropertyValue("--ratio")) || 16 / 9;
    const height = Math.round(WIDTH / ratio);
    if (this.#canvas.width === WIDTH && this.#canvas.height === height) return;
    this.#canvas.width = WIDTH;
    this.#canvas.height = height;
    if (this.#sent) drawFitted(context2d(this.#canvas), this.#sent, WIDTH, height);
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    if (event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#last = this.#place(event);
    this.#stroke(event);
  }

  /** @param {PointerEvent} event */
  #stroke(event) {
    if (!this.#last) return;
    const to = this.#place(event);
    const brush = context2d(this.#canvas);
    const isPaint = document.querySelector("input[name=brush]:checked")?.getAttribute("value") === "generate";
    brush.globalCompositeOperation = isPaint ? "destination-out" : "source-over";
    line(brush, this.#last, to);
    this.#last = to;
  }

  #end() {
    if (!this.#last) return;
    this.#last = null;
    this.#send();
  }

  /** @param {(context: CanvasRenderingContext2D, width: number, height: number) => void} draw @param {boolean} isFresh */
  #preset(draw, isFresh = false) {
    this.#fit();
    const { width, height } = this.#canvas;
    const brush = context2d(this.#canvas);
    brush.save();
    if (isFresh) brush.clearRect(0, 0, width, height);
    brush.globalCompositeOperation = "source-over";
    brush.fillStyle = COVER;
    draw(brush, width, height);
    brush.restore();
    this.#send();
  }

  #clear() {
    context2d(this.#canvas).clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#sent = null;
    setText(place("mask-words"), "");
    this.#desired.undo("mask", "Mask", () => setMask(null));
  }

  #send() {
    const drawing = blackOnWhite(this.#canvas);
    this.#sent = copyOf(this.#canvas);
    setText(place("mask-words"), "The camera stays where the picture is covered.");
    this.#desired.set("mask", "Mask", async () => setMask(await this.#http.upload(await encoded(drawing, "image/png"))));
  }

  /** Where on the drawing a pointer is: the picture may be letterboxed, and mirrored. @param {PointerEvent} event */
  #place(event) {
    const box = this.#canvas.getBoundingClientRect();
    const { width, height } = this.#canvas;
    const scale = Math.min(box.width / width, box.height / height);
    const x = (event.clientX - box.left - (box.width - width * scale) / 2) / scale;
    const y = (event.clientY - box.top - (box.height - height * scale) / 2) / scale;
    return { x: isMirrored() ? width - x : x, y };
  }
}

const isMirrored = () => document.body.dataset.mirror === "on";

/** @param {CanvasRenderingContext2D} brush @param {{x: number, y: number}} from @param {{x: number, y: number}} to */
function line(brush, from, to) {
  brush.strokeStyle = COVER;
  brush.lineWidth = (WIDTH * input("brush-size").valueAsNumber) / 100;
  brush.lineCap = "round";
  brush.beginPath();
  brush.moveTo(from.x, from.y);
  brush.lineTo(to.x + 0.01, to.y); // a line without length would not be drawn
  brush.stroke();
}

/** As the camera is fitted: cropped, or whole, its edges drawn out over the bars. @param {CanvasRenderingContext2D} brush @param {HTMLCanvasElement} drawing @param {number} width @param {number} height */
function drawFitted(brush, drawing, width, height) {
  const isWhole = document.body.dataset.fit === "fit";
  const scale = (isWhole ? Math.min : Math.max)(width / drawing.width, height / drawing.height);
  const [across, down] = [drawing.width * scale, drawing.height * scale];
  const [left, top] = [(width - across) / 2, (height - down) / 2];
  brush.drawImage(drawing, left, top, across, down);
  if (top > 0) {
    brush.drawImage(drawing, 0, 0, drawing.width, 1, 0, 0, width, top);
    brush.drawImage(drawing, 0, drawing.height - 1, drawing.width, 1, 0, top + down, width, top);
  }
  if (left > 0) {
    brush.drawImage(drawing, 0, 0, 1, drawing.height, 0, 0, left, height);
    brush.drawImage(drawing, drawing.width - 1, 0, 1, drawing.height, left + across, 0, left, height);
  }
}

/** @param {HTMLCanvasElement} original */
function copyOf(original) {
  const copy = document.createElement("canvas");
  copy.width = original.width;
  copy.height = original.height;
  context2d(copy).drawImage(original, 0, 0);
  return copy;
}

/** As the server wants it: white where to paint, black where it is covered. @param {HTMLCanvasElement} covered */
function blackOnWhite(covered) {
  const black = document.createElement("canvas");
  const drawing = document.createElement("canvas");
  black.width = drawing.width = covered.width;
  black.height = drawing.height = covered.height;
  const ink = context2d(black);
  ink.drawImage(covered, 0, 0);
  ink.globalCompositeOperation = "source-in";
  ink.fillRect(0, 0, black.width, black.height);
  const paper = context2d(drawing);
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, drawing.width, drawing.height);
  paper.drawImage(black, 0, 0);
  return drawing;
}
