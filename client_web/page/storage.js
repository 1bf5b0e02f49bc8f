/** Local storage of the page, between visits. It may be full or forbidden: then nothing is kept. */

const PREFIX = "depthlive.";

/** @param {string} name @param {any} fallback @returns {any} what was kept, or `fallback` */
export function kept(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name) ?? "") ?? fallback;
  } catch {
    return fallback;
  }
}

/** @param {string} name @param {unknown} value anything JSON can say */
export function keep(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // a page that cannot keep things still works
  }
}
