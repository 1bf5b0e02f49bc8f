/**
 * Set-up file: all that is set, as one JSON, and what a snapshot tells of it. Values of its parts are the server's to check. Pure.
 *
 * @typedef {Record<string, any>} Parts fields of commands, by PARTS; a `timeline` of null: none plays
 * @typedef {{timeline?: object, mirror?: boolean, record_side?: boolean}} PagePart what no server knows of
 * @typedef {{version: 1, without?: string[], page?: PagePart} & Parts} SetupFile
 */
export const VERSION = 1;
/** As the server has them: in the order in which they are sent, none undoes another. */
export const PARTS = ["prompt", "timeline", "latency", "steps", "camera_start", "guidance", "depth", "controls", "region", "seed", "output"];
const MOST_BYTES = 256 * 1024; // that the server takes

/**
 * @param {string} text
 * @param {(draft: unknown) => unknown} readTimeline throws an Error that says what is wrong with the draft of one
 * @returns {{parts: Parts, page: PagePart, without: string[]}}
 * @throws {Error} that says all that is wrong with it, a line each
 */
export function readSetup(text, readTimeline) {
  if (text.length > MOST_BYTES) throw new Error("It is too large for a set-up.");
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error("It is not JSON.");
  }
  if (!isObject(data) || !("version" in data)) throw new Error("It is no set-up: it has no version.");
  if (data.version !== VERSION) throw new Error(`version: got ${shown(data.version)}, expected ${VERSION}, the newest that is known here.`);
  const { version: _, page = {}, without = [], ...parts } = data;
  const wrong = Object.keys(parts).filter((name) => !PARTS.includes(name)).map((name) => `${name}: expected no such part of a set-up.`);
  if (!Array.isArray(without)) wrong.push(`without: got ${shown(without)}, expected a list.`);
  wrong.push(...troublesOf(page, readTimeline));
  if (wrong.length) throw new Error(wrong.join("\n"));
  return { parts, page, without };
}

/** @param {any} page @param {(draft: unknown) => unknown} readTimeline @returns {string[]} */
function troublesOf(page, readTimeline) {
  if (!isObject(page)) return [`page: got ${shown(page)}, expected an object.`];
  const wrong = [];
  for (const [name, value] of Object.entries(page)) {
    if (name === "timeline") {
      try {
        readTimeline(value);
      } catch (error) {
        wrong.push(`page.timeline: ${error instanceof Error ? error.message : error}`);
      }
    } else if (name !== "mirror" && name !== "record_side") wrong.push(`page.${name}: this page does not know it; a newer one may.`);
    else if (typeof value !== "boolean") wrong.push(`page.${name}: got ${shown(value)}, expected true or false.`);
  }
  return wrong;
}

/** The text of a set-up's file. @param {SetupFile} setup */
export const writeSetup = (setup) => JSON.stringify(setup, null, 2);

/**
 * The parts that messages of the page stand for: what it would send to a new stream.
 * @param {import("../protocol.js").Request[]} messages
 * @returns {Parts}
 */
export function partsOf(messages) {
  /** @type {Parts} */
  const parts = {};
  for (const { type, id: _, ...fields } of messages) {
    const name = type.replace(/\.set$/, "");
    if (PARTS.includes(name)) parts[name] = { ...parts[name], ...fields }; // rate and quality are sent apart
  }
  return parts;
}

/** @param {unknown} value @returns {value is Record<string, any>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {unknown} value */
const shown = (value) => JSON.stringify(value)?.slice(0, 100);
