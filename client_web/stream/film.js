/** Film: a video that this browser plays in a loop, unseen, as a track. */
import { SourceError } from "./source_error.js";

const LOAD_LIMIT_MS = 30_000;
const LONGEST_PX = 1280; // of a side of what is drawn
const FPS = 30; // of what is drawn

/**
 * The caller releases it. Throws SourceError.
 * @param {string} address
 * @param {string} name for the person
 * @returns {Promise<{track: MediaStreamTrack, release: () => void}>}
 */
export async function openFilm(address, name) {
  const video = document.createElement("video");
  video.muted = video.loop = video.playsInline = true;
  video.src = address;
  try {
    await loaded(video, name);
    await video.play().catch(() => { throw new SourceError(`The browser did not play ${name}: press Start again.`); });
  } catch (error) {
    unload(video);
    throw error;
  }
  const { track, stop } = canCapture(video) ? captured(video) : drawn(video);
  video.addEventListener("error", () => {
    track.stop();
    track.dispatchEvent(new Event("ended")); // as a camera that was pulled out: a file may be, too
  });
  return { track, release: () => (stop(), unload(video)) };
}

/** @param {HTMLVideoElement} video @param {string} name @returns {Promise<void>} */
function loaded(video, name) {
  return new Promise((resolve, reject) => {
    const fail = (/** @type {string} */ words) => reject(new SourceError(words));
    const limit = setTimeout(() => fail(`${name} could not be read in time.`), LOAD_LIMIT_MS);
    video.addEventListener("loadeddata", () => {
      clearTimeout(limit);
      if (video.videoWidth) resolve();
      else fail(`${name} has no picture.`);
    }, { once: true });
    video.addEventListener("error", () => {
      clearTimeout(limit);
      fail(`${name} is no video that this browser can play. MP4 with H.264 and WebM mostly are.`);
    }, { once: true });
  });
}

/** @param {HTMLVideoElement} video */
function unload(video) {
  video.pause();
  video.removeAttribute("src");
  video.load();
}

/** @typedef {HTMLVideoElement & {captureStream: () => MediaStream}} Capturable not in every browser */

/** @param {HTMLVideoElement} video @returns {video is Capturable} */
function canCapture(video) {
  return "captureStream" in video;
}

/** As the browser decodes it: it goes on while the page is hidden. @param {Capturable} video */
function captured(video) {
  const stream = video.captureStream();
  stream.getAudioTracks().forEach((track) => track.stop());
  return { track: stream.getVideoTracks()[0], stop: () => {} };
}

/** Drawn by a timer, which a hidden page slows down, where callbacks of the video would end. @param {HTMLVideoElement} video */
function drawn(video) {
  const shrink = Math.min(1, LONGEST_PX / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = 2 * Math.round((video.videoWidth * shrink) / 2); // even, as video has it
  canvas.height = 2 * Math.round((video.videoHeight * shrink) / 2);
  const context = canvas.getContext("2d", { alpha: false });
  const draw = () => context?.drawImage(video, 0, 0, canvas.width, canvas.height);
  draw();
  const timer = setInterval(draw, 1000 / FPS);
  return { track: canvas.captureStream(FPS).getVideoTracks()[0], stop: () => clearInterval(timer) };
}
