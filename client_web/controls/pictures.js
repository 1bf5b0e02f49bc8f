/** Pictures from outside made fit to send: decoded here, turned upright, no larger than the model can use. */
import { context2d } from "../page/dom.js";

const LONGEST_PX = 1280;
const QUALITY = 0.92;

/** This is no picture; `message` says so to the person. */
export class PictureError extends Error {}

/**
 * @param {Blob} file anything this browser can show
 * @returns {Promise<HTMLCanvasElement>}
 */
export async function decodePicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new PictureError("This file is no picture that this browser can read.");
  }
  const canvas = drawn(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  return canvas;
}

/** What a video shows now. @param {HTMLVideoElement} video */
export function frameOf(video) {
  if (!video.videoWidth) throw new PictureError("The camera is off: there is nothing to take.");
  return drawn(video, video.videoWidth, video.videoHeight);
}

/** @param {HTMLCanvasElement} canvas @param {string} type @returns {Promise<Blob>} */
export function encoded(canvas, type = "image/jpeg") {
  return new Promise((resolve, reject) => {
    const done = (/** @type {Blob | null} */ blob) => (blob ? resolve(blob) : reject(new PictureError("The picture could not be stored.")));
    canvas.toBlob(done, type, QUALITY);
  });
}

/** @param {CanvasImageSource} source @param {number} width @param {number} height */
function drawn(source, width, height) {
  const shrink = Math.min(1, LONGEST_PX / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * shrink));
  canvas.height = Math.max(1, Math.round(height * shrink));
  const context = context2d(canvas);
  context.fillStyle = "#fff"; // what is transparent lies on white
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Offers something for saving under a name. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
