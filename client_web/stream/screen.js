/** Screen: a screen, a window or a tab that the person shares, for as long as they share it. */
import { SourceError } from "./source_error.js";

const LONGEST_PX = 1280; // of a side: the browser shrinks what is larger, and the model's picture is smaller yet
const USUAL_FPS = 30;

/** @type {Record<string, string>} */
const HOW_TO_FIX = {
  NotAllowedError: "Nothing is shared: the choice was closed, or refused by the browser or the system. Choose the screen again to share it.",
  NotFoundError: "There is nothing here to share.",
  NotReadableError: "The system does not let the browser see that screen. Allow it in the system's settings for privacy.",
  InvalidStateError: "Sharing has ended, and a browser asks for the screen only when somebody presses a button. Choose it again.",
};

/** Phones' browsers share no screen. */
export const canShare = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/** Shows the browser's choice. The caller stops the track. Throws SourceError. @param {number} fps as many a second as are of use */
export async function openScreen(fps) {
  if (!canShare()) throw new SourceError("This browser shares no screens with web pages.");
  const video = { frameRate: { max: Math.max(fps, USUAL_FPS) }, width: { max: LONGEST_PX }, height: { max: LONGEST_PX } };
  try {
    const [track] = (await navigator.mediaDevices.getDisplayMedia({ video, audio: false })).getVideoTracks();
    track.contentHint = "motion"; // else it is sent sharp and slow
    return track;
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    throw new SourceError(HOW_TO_FIX[name] ?? `The screen could not be shared: ${message}`);
  }
}
