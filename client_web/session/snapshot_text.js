/**
 * Text of a snapshot: what a PNG of this server says of how it was made. Its pixels are not looked at. Pure.
 */

/** @typedef {import("./setup_file.js").Parts} Parts */

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const KEY = "depthlive:";
const MOST_TEXTS = 64;
const MOST_BYTES = 64 * 1024; // of one text
const OF_THE_PICTURE = ["chunk", "frame", "time"]; // told of it, and nothing to set
const UTF8 = new TextDecoder();

/**
 * @param {Uint8Array} file
 * @returns {Map<string, string>} by name; empty for what is no PNG, or has no text of this server's
 */
export function readTexts(file) {
  const texts = new Map();
  if (!SIGNATURE.every((byte, index) => file[index] === byte)) return texts;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = SIGNATURE.length;
  while (at + 12 <= file.length && texts.size < MOST_TEXTS) {
    const length = view.getUint32(at);
    const kind = UTF8.decode(file.subarray(at + 4, at + 8));
    if (kind === "IEND") break;
    if (kind === "iTXt" && length <= MOST_BYTES && at + 8 + length <= file.length) addText(texts, file.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  return texts;
}

/** One iTXt chunk: keyword, 0, compressed?, how, language, 0, keyword translated, 0, text. @param {Map<string, string>} texts @param {Uint8Array} data */
function addText(texts, data) {
  const keywordEnd = data.indexOf(0);
  const languageEnd = data.indexOf(0, keywordEnd + 3);
  const translatedEnd = data.indexOf(0, languageEnd + 1);
  if (keywordEnd < 0 || languageEnd < 0 || translatedEnd < 0 || data[keywordEnd + 1] !== 0) return; // a server's own is plain
  const keyword = UTF8.decode(data.subarray(0, keywordEnd));
  if (keyword.startsWith(KEY)) texts.set(keyword.slice(KEY.length), UTF8.decode(data.subarray(translatedEnd + 1)));
}

/**
 * What to set for a picture like it, and what of it cannot be.
 * @param {Map<string, string>} texts
 * @param {string} model the one that runs here; "": not known yet
 * @returns {{parts: Parts, words: string[]}}
 */
export function setupOf(texts, model) {
  /** @type {Parts} */
  const parts = {};
  const words = [];
  for (const [name, text] of texts) {
    const make = PARTS_OF[name];
    if (name === "model") {
      if (model && text !== model) words.push(`It was made by ${text.slice(0, 60)}; here runs ${model}.`);
    } else if (make) {
      const value = valueOf(text);
      if (value === undefined) words.push(`${name}: its text cannot be read.`);
      else Object.assign(parts, make(value));
    } else if (!OF_THE_PICTURE.includes(name)) words.push(`${name.slice(0, 60)}: not known here.`);
  }
  return { parts, words };
}

/** @type {Record<string, (value: any) => Parts>} */
const PARTS_OF = {
  prompts: (prompts) => ({ prompt: { prompts }, timeline: null }), // which would take its turn again
  guidance_scale: (scale) => ({ guidance: { scale } }),
  controls: (controls) => ({ controls }),
  noise_scale: (noise_scale) => ({ camera_start: { noise_scale } }),
  steps: (steps) => ({ steps: { steps: Array.isArray(steps) ? steps : null } }), // a number of the model's own
  seed: (seed) => ({ seed: { mode: "fixed", seed } }),
};

/** @param {string} text */
function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
