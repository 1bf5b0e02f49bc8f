/** Question to the server whether it still has a session, for whoever hears nothing of it by another way. */

const LIMIT_MS = 3000;
const NO_SESSION = 404;
const NO_WORKER = 502; // a gateway does not reach the process that has it

/** @param {string} session its id @returns {Promise<boolean>} false, too, where there is no answer: then the network is at fault */
export async function isGone(session) {
  try {
    const { status } = await fetch(`sessions/${session}`, { cache: "no-store", signal: AbortSignal.timeout(LIMIT_MS) });
    return status === NO_SESSION || status === NO_WORKER;
  } catch {
    return false;
  }
}
