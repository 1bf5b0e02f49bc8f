/** The server's reasons are lower-case clauses for a log; here they stand alone and are read from far away. Pure. */

const TRANSFER = /^(downloading|checking) \S+: .*\((\d+) % of ([^)]+)\)$/;

/** @param {string} reason */
export function plainly(reason) {
  const transfer = TRANSFER.exec(reason);
  if (transfer) {
    const [, verb, percent, size] = transfer;
    return `${verb === "checking" ? "Checking" : "Downloading"} the model: ${percent} % of ${size}.`;
  }
  const text = `${reason[0]?.toUpperCase() ?? ""}${reason.slice(1)}`;
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
