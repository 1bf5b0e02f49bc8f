/** Timeline file: a timeline as JSON, as timeline.set has it: {steps: [{at, text, transition, chunks, curve}], loop, duration}. Pure. */

/** @typedef {import("./timeline.js").Draft} Draft */

export const GAP_S = 8; // between the last prompt and a new one, or the end
const TRANSITIONS = ["recache", "blend", "cut"];

/**
 * @param {string} text
 * @param {number} mostSteps
 * @returns {Draft}
 * @throws {Error} that says what is wrong with it
 */
export function readTimeline(text, mostSteps = Infinity) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error("it is not JSON.");
  }
  if (!Array.isArray(data?.steps)) throw new Error("it has no list of steps.");
  if (data.steps.length > mostSteps) throw new Error(`it has more than ${mostSteps} steps.`);
  const steps = data.steps.map(readStep);
  const last = steps.at(-1)?.at ?? 0;
  return { steps, loop: data.loop === true, duration: typeof data.duration === "number" ? data.duration : last + GAP_S };
}

/** @param {any} step @param {number} index @returns {import("../protocol.js").TimelineStep} */
function readStep(step, index) {
  const name = `steps[${index}]`;
  if (typeof step?.at !== "number" || step.at < 0) throw new Error(`${name}.at must be seconds from 0.`);
  if (typeof step.text !== "string" || !step.text.trim()) throw new Error(`${name}.text must be a prompt.`);
  const { at, text, transition, chunks, curve } = step; // the server checks and fills in how a prompt takes over
  if (transition !== undefined && !TRANSITIONS.includes(transition)) {
    throw new Error(`${name}.transition must be one of ${TRANSITIONS.join(", ")}.`);
  }
  return { at, text: text.trim(), transition, chunks, curve };
}
