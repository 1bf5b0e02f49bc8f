/** Camera: asking for it, listing the choices, and saying in plain words why there is none. */
import { SourceError } from "./source_error.js";

const SIZE = { width: { ideal: 640 }, height: { ideal: 480 } };
const UPRIGHT_SIZE = { width: SIZE.height, height: SIZE.width };
const USUAL_FPS = 30; // asked for also where fewer are used: the newest one is newer

/** @typedef {{id: string, fps: number, isUpright: boolean}} Wanted `id` empty: the browser's default; `fps`: as many a second as are of use */

const WITHOUT = "It goes without a camera, too: try a sample.";
/** @type {Record<string, string>} */
const HOW_TO_FIX = {
  NotAllowedError:
    `The camera was refused. Allow it for this page (the icon beside the address), then press Start. ${WITHOUT}`,
  NotFoundError: `No camera was found. Connect one, then press Start. ${WITHOUT}`,
  NotReadableError: "The camera is in use by another program. Close that program, then press Start.",
  OverconstrainedError: "The chosen camera is gone. Choose another one, then press Start.",
};

/** Why no camera can be had here at all, or null. */
export function obstacle() {
  if (navigator.mediaDevices) return null;
  return window.isSecureContext
    ? `This browser gives web pages no camera. Use a current Chrome, Edge, Firefox or Safari. ${WITHOUT}`
    : "This page was opened over plain http, where browsers refuse the camera. " +
        `Open it over https, or on the server's own machine as http://localhost. ${WITHOUT}`;
}

/**
 * Opens a camera; may show the browser's question. The caller stops the track. Throws SourceError.
 * @param {Wanted} wanted
 * @returns {Promise<MediaStreamTrack>}
 */
export async function openCamera({ id, fps, isUpright }) {
  const impossible = obstacle();
  if (impossible) throw new SourceError(impossible);
  const rate = Math.max(fps, USUAL_FPS);
  const video = { ...(isUpright ? UPRIGHT_SIZE : SIZE), frameRate: { ideal: rate, max: rate }, ...(id ? { deviceId: { exact: id } } : {}) };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    return stream.getVideoTracks()[0];
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    throw new SourceError(HOW_TO_FIX[name] ?? `The camera could not be opened: ${message}`);
  }
}

/** Whether the camera would open without a question, as far as this browser tells. */
export async function isAllowed() {
  try {
    const name = /** @type {PermissionName} */ ("camera"); // not in every browser's list
    return (await navigator.permissions.query({ name })).state === "granted";
  } catch {
    return false;
  }
}

/**
 * Browsers hide names and ids until the person has allowed a camera once.
 * @returns {Promise<{id: string, label: string}[]>}
 */
export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices
    .filter((device) => device.kind === "videoinput" && device.deviceId)
    .map((device, index) => ({ id: device.deviceId, label: device.label || `Camera ${index + 1}` }));
}

/** Calls back whenever a camera comes or goes. @param {() => void} callback */
export function watchCameras(callback) {
  navigator.mediaDevices?.addEventListener("devicechange", callback);
}
