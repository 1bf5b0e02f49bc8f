/** Source of what is sent: a camera, a screen or window, a video file or the sample, as one video track. */
import { openCamera } from "./camera.js";
import { openFilm } from "./film.js";
import { openScreen } from "./screen.js";
import { SourceError } from "./source_error.js";

const SAMPLE = "sample.webm"; // made by scripts/embedded/sample_clip.py

/**
 * @typedef {object} Choice what the person wants to be sent
 * @property {"camera" | "screen" | "file" | "sample"} kind
 * @property {string} [id] of a camera; empty: the browser's default
 * @property {File} [file]
 *
 * @typedef {{fps: number, isUpright: boolean}} Use as many a second as are of use; a camera is asked for upright ones
 *
 * @typedef {{track: MediaStreamTrack, release?: () => void}} Opened `release` what is behind a track, once that has stopped
 */

/** What is happening while a source is being opened. @type {Record<Choice["kind"], string>} */
export const ASKING = {
  camera: "Asking for the camera. Your browser may show a question: choose Allow.",
  screen: "Asking what to share. Your browser shows the choice.",
  file: "Opening the video.",
  sample: "Opening the sample.",
};

/** One that is open. */
export class Source {
  #release;

  /** @param {Choice} choice @param {Opened} opened */
  constructor(choice, { track, release = () => {} }) {
    this.choice = choice;
    this.track = track;
    this.#release = release;
  }

  /** Whether there are no more pictures: a camera was pulled out, sharing has ended. */
  get isOver() {
    return this.track.readyState === "ended";
  }

  close() {
    this.track.stop();
    this.#release();
  }
}

/**
 * May show the browser's question. The caller closes it. Throws SourceError.
 * @param {Choice | null} choice
 * @param {Use} use
 */
export async function openSource(choice, use) {
  if (!choice) throw new SourceError("Choose a source, then press Start.");
  return new Source(choice, await opened(choice, use));
}

/** @param {Choice} choice @param {Use} use @returns {Promise<Opened>} */
async function opened({ kind, id = "", file }, { fps, isUpright }) {
  switch (kind) {
    case "camera": return { track: await openCamera({ id, fps, isUpright }) };
    case "screen": return { track: await openScreen(fps) };
    case "sample": return openFilm(SAMPLE, "The sample");
    case "file": {
      if (!file) throw new SourceError("Choose a video file, then press Start.");
      const address = URL.createObjectURL(file); // it stays in this browser: the server gets pictures alone
      const forget = () => URL.revokeObjectURL(address);
      const film = await openFilm(address, file.name).catch((error) => {
        forget();
        throw error;
      });
      return { track: film.track, release: () => (film.release(), forget()) };
    }
  }
}
