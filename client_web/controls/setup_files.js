/** Set-up files: all that is set saved as one JSON, and opened again by choosing or dropping it, as is a snapshot's PNG. */
import { setPart } from "../protocol.js";
import { button, input, place, setText } from "../page/dom.js";
import { limit } from "../page/limits.js";
import { PARTS, VERSION, partsOf, readSetup, writeSetup } from "../session/setup_file.js";
import { SessionError } from "../session/session_http.js";
import { readTexts, setupOf } from "../session/snapshot_text.js";
import { save } from "./pictures.js";
import { readTimeline } from "./timeline_file.js";

/**
 * @typedef {import("../session/setup_file.js").Parts} Parts
 * @typedef {import("../session/setup_file.js").PagePart} PagePart
 * @typedef {object} Page what a set-up has of the page, and tells it
 * @property {() => PagePart} read
 * @property {(page: PagePart) => void} apply
 * @property {(parts: Parts) => void} show what holds now, or will when the stream starts
 * @property {() => string} model the one that runs, "" until it is known
 * @property {(words: string) => void} notice
 */

const LABELS = /** @type {Record<string, string>} */ ({ camera_start: "Keep the camera", controls: "Light and lines", region: "Distance" });
const MOST_PNG_BYTES = 32 * 1024 * 1024;

export class SetupFiles {
  #desired;
  #http;
  #page;

  /**
   * @param {import("../session/desired_state.js").DesiredState} desired
   * @param {import("../session/session_http.js").SessionHttp} http
   * @param {Page} page
   */
  constructor(desired, http, page) {
    this.#desired = desired;
    this.#http = http;
    this.#page = page;
    button("setup-save").addEventListener("click", () => void this.#save());
    const file = input("setup-file");
    button("setup-load").addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      void this.#openChosen([...(file.files ?? [])]);
      file.value = ""; // the same file may be chosen again
    });
  }

  /** Opens what is a set-up or a snapshot. @param {File[]} files @returns {Promise<File[]>} the others */
  async open(files) {
    const others = [];
    for (const file of files) if (!(await this.#opened(file))) others.push(file);
    return others;
  }

  /** @param {File[]} files */
  async #openChosen(files) {
    for (const { name } of await this.open(files)) this.#say(`${name} is neither a set-up nor a snapshot with its settings.`);
  }

  /** @param {File} file @returns {Promise<boolean>} it was one of ours, whatever came of it */
  async #opened(file) {
    if (file.type === "application/json" || /\.json$/i.test(file.name)) {
      await this.#guard(file.name, async () => this.#load(file.name, readSetup(await file.text(), readDraft)));
      return true;
    }
    if (file.type !== "image/png" || file.size > MOST_PNG_BYTES) return false;
    const texts = readTexts(new Uint8Array(await file.arrayBuffer()));
    if (!texts.size) return false;
    await this.#guard(file.name, () => this.#take(file.name, setupOf(texts, this.#page.model())));
    return true;
  }

  /** All of it, or nothing. @param {string} name @param {{parts: Parts, page: PagePart, without: string[]}} setup */
  async #load(name, { parts, page, without }) {
    if (this.#http.id !== null) await this.#http.loadSetup({ version: VERSION, ...parts });
    this.#adopt(parts);
    this.#page.apply({ timeline: draftOf(parts), ...page });
    const missing = without.length ? ` Not in it: ${without.join(", ")}.` : "";
    this.#say(`${name} is loaded.${missing}`);
  }

  /** Of a snapshot what this server can do; the rest is told. @param {string} name @param {{parts: Parts, words: string[]}} setup */
  async #take(name, { parts, words }) {
    if (this.#http.id !== null) {
      try {
        await this.#http.loadSetup({ version: VERSION, ...parts });
      } catch (error) {
        const faults = error instanceof SessionError ? error.faults : [];
        if (!faults.length) throw error;
        words.push(...faults.map(({ message }) => message));
        parts = without(parts, faults.map(({ field }) => field.split(/[.[]/)[0]));
        if (Object.keys(parts).length) await this.#http.loadSetup({ version: VERSION, ...parts });
      }
    }
    this.#adopt(parts);
    const seed = parts.seed ? " Its seed counts from the next reset." : "";
    this.#say([`${name} is opened: its settings hold.${seed}`, ...words].join("\n"));
  }

  /** A new stream is to have it, too. @param {Parts} parts */
  #adopt(parts) {
    const isKnown = this.#http.id !== null;
    for (const name of PARTS) {
      if (parts[name] === null) this.#desired.forget(name);
      else if (name === "output") this.#adoptOutput(parts.output, isKnown);
      else if (parts[name]) this.#desired.adopt(name, labelOf(name), () => setPart(name, parts[name]), isKnown);
    }
    this.#page.show(parts);
  }

  /** The page sets rate and quality apart. @param {Record<string, any> | undefined} output @param {boolean} isKnown */
  #adoptOutput(output = {}, isKnown) {
    for (const name of ["fps", "quality"]) {
      const fields = { [name]: output[name] };
      if (name in output) this.#desired.adopt(name, labelOf(name), () => setPart("output", fields), isKnown);
    }
  }

  async #save() {
    await this.#guard("The set-up", async () => {
      const page = this.#page.read();
      const setup = this.#http.id !== null ? await this.#http.setup() : await this.#ownSetup();
      save(new Blob([writeSetup({ ...setup, page })], { type: "application/json" }), "setup.json");
      this.#say(setup.without?.length ? `Saved. Pictures are not in it: ${setup.without.join(", ")}.` : "Saved.");
    });
  }

  /** What has been set here, before there is a stream. @returns {Promise<import("../session/setup_file.js").SetupFile>} */
  async #ownSetup() {
    const without = ["references", "mask"].filter((kind) => this.#desired.has(kind));
    const parts = partsOf(await this.#desired.messages(without));
    return { version: VERSION, ...parts, ...(without.length ? { without } : {}) };
  }

  /** @param {string} name @param {() => Promise<void>} work */
  async #guard(name, work) {
    try {
      await work();
    } catch (error) {
      const faults = error instanceof SessionError ? error.faults.map(({ message }) => message) : [];
      const reason = faults.length ? faults.join("\n") : error instanceof Error ? error.message : String(error);
      this.#say(`${name} was not taken.\n${reason}`);
    }
  }

  /** In the panel all of it; the first line wherever one is. @param {string} words */
  #say(words) {
    setText(place("setup-words"), words);
    const [first, more] = words.split("\n");
    this.#page.notice(more ? `${first} The Setup tab says more.` : first);
  }
}

/** @param {unknown} draft */
const readDraft = (draft) => readTimeline(JSON.stringify(draft), limit("timeline_steps"));

/** Of the timeline that plays, if it is one that can be written here. @param {Parts} parts */
function draftOf({ timeline }) {
  try {
    return timeline ? readDraft(timeline) : undefined;
  } catch {
    return undefined; // mixed prompts have no line here
  }
}

/** @param {string} name */
const labelOf = (name) => LABELS[name] ?? name[0].toUpperCase() + name.slice(1);

/** @param {Parts} parts @param {string[]} names @returns {Parts} */
const without = (parts, names) => Object.fromEntries(Object.entries(parts).filter(([name]) => !names.includes(name)));
