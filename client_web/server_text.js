/** Sentences made of the server's reasons, which are lower-case clauses for a log. Pure. */

export const NO_ANSWER = "The server does not answer. Check that it is still running.";

const TRANSFER = /^(downloading|checking) \S+: .*\((\d+) % of ([^)]+)\)$/;

/** @param {string} reason */
export function sentence(reason) {
  const transfer = TRANSFER.exec(reason);
  if (transfer) {
    const [, verb, percent, size] = transfer;
    return `${verb === "checking" ? "Checking" : "Downloading"} the model: ${percent} % of ${size}.`;
  }
  const text = `${reason[0]?.toUpperCase() ?? ""}${reason.slice(1)}`;
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/**
 * Why there is no place, and how long that may last.
 * @param {number} position in line, from 1; 0 where the server does not tell
 * @param {string} reason the server's own
 */
export function queueText(position, reason) {
  if (position === 1) return "The server is full: you are next in line.";
  if (position) return `The server is full: you are ${ordinal(position)} in line.`;
  return `The server is full: ${reason || "every place is taken."}`;
}

/** @param {number} number from 1 */
function ordinal(number) {
  const isTeen = number % 100 > 10 && number % 100 < 14;
  return `${number}${(!isTeen && ["th", "st", "nd", "rd"][number % 10]) || "th"}`;
}
