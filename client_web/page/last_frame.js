/** Last frame of a stream that was lost, as a stream of its own: better than black before an audience. */
import { context2d } from "./dom.js";

/** @param {HTMLVideoElement} video @returns {MediaStream | null} null when it shows nothing */
export function lastFrame(video) {
  if (!video.videoWidth || !video.srcObject) return null;
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = context2d(canvas);
  const stream = canvas.captureStream();
  context.drawImage(video, 0, 0);
  return stream;
}
