/**
 * Sound: the microphone, asked for when the person turns it on and not before; its level; what comes back.
 *
 *   const sound = new Sound((track) => stream.setMicrophone(track));
 *   sound.phase(phase);        // of the stream
 *   sound.returned(stream);    // from the server; null: this connection carries no sound
 */
import { at, button, input, isPressed, place, press, setText } from "../page/dom.js";

const LEVEL_MS = 100;
const NO_SOUND = "Sound needs WebRTC. This connection is a WebSocket.";
/** @type {Record<string, string>} */
const HOW_TO_FIX = {
  NotAllowedError: "The microphone was refused. Allow it for this page (the icon beside the address), then try again.",
  NotFoundError: "No microphone was found. Connect one, then try again.",
  NotReadableError: "The microphone is in use by another program. Close that program, then try again.",
};

export class Sound {
  #send;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {AudioContext | null} */
  #context = null;
  #timer = 0;
  #request = 0; // a newer one makes an older one stale

  /** @param {(track: MediaStreamTrack | null) => void} send is given what is to be sent from now on */
  constructor(send) {
    this.#send = send;
    button("microphone").addEventListener("click", () => void this.#toggle(!isPressed(button("microphone"))));
    button("mute").addEventListener("click", () => this.#mute(!isPressed(button("mute"))));
    input("listen").addEventListener("change", () => this.#listen());
  }

  /** Off at first, and off again at the end. @param {string} phase */
  phase(phase) {
    button("microphone").disabled = phase === "idle" || phase === "asking";
    if (phase !== "idle") return;
    void this.#toggle(false);
    setText(place("sound-note"), "");
    at("returned-sound", HTMLAudioElement).srcObject = null;
  }

  /** @param {MediaStream | null} stream */
  returned(stream) {
    at("returned-sound", HTMLAudioElement).srcObject = stream;
    setText(place("sound-note"), stream || !this.#track ? "" : NO_SOUND);
    this.#listen();
  }

  /** @param {boolean} isOn */
  async #toggle(isOn) {
    const request = (this.#request += 1);
    press(button("microphone"), isOn);
    setText(place("sound-note"), "");
    if (!isOn) return this.#off();
    try {
      const audio = { echoCancellation: true, noiseSuppression: false };
      const stream = await navigator.mediaDevices.getUserMedia({ audio, video: false });
      const [track] = stream.getAudioTracks();
      if (request !== this.#request) return track.stop();
      this.#on(track, stream);
    } catch (error) {
      if (request !== this.#request) return;
      const { name, message } = /** @type {Error} */ (error);
      press(button("microphone"), false);
      setText(place("sound-note"), HOW_TO_FIX[name] ?? `The microphone could not be opened: ${message}`);
    }
  }

  /** @param {MediaStreamTrack} track @param {MediaStream} stream */
  #on(track, stream) {
    this.#track = track;
    track.addEventListener("ended", () => {
      void this.#toggle(false);
      setText(place("sound-note"), "The microphone was disconnected.");
    });
    this.#mute(false);
    this.#send(track);
    place("sound-controls").hidden = false;
    const context = (this.#context = new AudioContext());
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const meter = at("sound-level", HTMLMeterElement);
    this.#timer = window.setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      meter.value = Math.min(1, Math.max(...samples.map(Math.abs)));
    }, LEVEL_MS);
  }

  #off() {
    clearInterval(this.#timer);
    place("sound-controls").hidden = true;
    input("listen").checked = false;
    this.#listen();
    if (!this.#track) return;
    this.#track.stop();
    this.#track = null;
    this.#send(null);
    void this.#context?.close();
    this.#context = null;
  }

  /** @param {boolean} isOn */
  #mute(isOn) {
    press(button("mute"), isOn);
    if (this.#track) this.#track.enabled = !isOn;
  }

  /** Played only when the person has asked for it: it comes late, and by loudspeakers it would go round. */
  #listen() {
    const returned = at("returned-sound", HTMLAudioElement);
    if (input("listen").checked && returned.srcObject) void returned.play().catch(() => undefined);
    else returned.pause();
  }
}
