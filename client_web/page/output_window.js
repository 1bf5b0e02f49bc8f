/**
 * Output window: the picture alone, for a second screen. Opened by the main page it shows that page's picture; opened by itself
 * (`?view=output`, as a browser source has it) it is a page that starts by itself, if the camera was allowed before.
 */
import { video } from "./dom.js";

const NAME = "depthlive-output";
const STILL_MS = 2000; // the pointer has not moved: it goes
const CALL = "depthlive-output"; // an output window asks the page that opened it for the picture
const HOLD = "depthlive-hold"; // ... or to hold it

export const isOutputView = () => document.documentElement.dataset.view === "output";

/** Whether a page opened this window, and gives it its picture. */
export function hasOpener() {
  return isOutputView() && window.name === NAME && mainPage() !== null;
}

/** At the main page: gives its picture to a window of its own. */
export class OutputWindow {
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {Window | null} */
  #window = null;

  /** @param {() => void} hold what the pause key does */
  constructor(hold) {
    window.addEventListener(HOLD, hold);
    window.addEventListener(CALL, (event) => {
      this.#window = /** @type {CustomEvent<Window>} */ (event).detail;
      this.#give();
    });
  }

  /** @returns {boolean} false: the browser did not let a window open */
  open() {
    const opened = window.open("?view=output", NAME, "popup,width=1280,height=720");
    opened?.focus();
    return opened !== null;
  }

  /** @param {MediaStream | null} stream */
  show(stream) {
    this.#stream = stream;
    this.#give();
  }

  /** @param {boolean} isStill */
  setHeld(isStill) {
    const output = this.#output();
    if (isStill) output?.pause();
    else if (output?.srcObject) void output.play();
  }

  #give() {
    const output = this.#output();
    if (!output) return;
    output.srcObject = this.#stream;
    output.ownerDocument.body.dataset.picture = this.#stream ? "on" : "off";
    output.ownerDocument.body.dataset.mirror = document.body.dataset.mirror ?? "off";
  }

  #output() {
    if (!this.#window || this.#window.closed) return null;
    return /** @type {HTMLVideoElement | null} */ (this.#window.document.getElementById("output"));
  }
}

/** In the output window: no pointer, full screen by double click, the main page's picture if there is one. */
export function initOutputView() {
  let timer = 0;
  const root = document.documentElement;
  const hide = () => (root.dataset.cursor = "hidden");
  document.addEventListener("pointermove", () => {
    root.dataset.cursor = "";
    clearTimeout(timer);
    timer = window.setTimeout(hide, STILL_MS);
  });
  timer = window.setTimeout(hide, STILL_MS);
  const toggle = () => void (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen?.());
  document.addEventListener("dblclick", toggle);
  if (!hasOpener()) return;
  document.addEventListener("keydown", ({ key }) => {
    if (key.toLowerCase() === "f") toggle();
    if (key.toLowerCase() === "p" || key === "Pause") mainPage()?.dispatchEvent(new Event(HOLD));
  });
  mainPage()?.dispatchEvent(new CustomEvent(CALL, { detail: window }));
}

/** @returns {Window | null} the window that opened this one, if it is ours */
function mainPage() {
  try {
    const opener = /** @type {Window | null} */ (window.opener);
    return opener && !opener.closed && opener.location.origin === location.origin ? opener : null;
  } catch {
    return null; // another site's
  }
}

/** The picture over the whole screen; a phone that can do that with videos alone does it with the video. */
export function toggleFullscreen() {
  if (document.fullscreenElement) return void document.exitFullscreen();
  const picture = document.getElementById("picture");
  const output = /** @type {HTMLVideoElement & {webkitEnterFullscreen?: () => void}} */ (video("output"));
  if (picture?.requestFullscreen) void picture.requestFullscreen();
  else output.webkitEnterFullscreen?.();
}
