/** Exponential backoff with jitter between attempts to connect. Pure. */

const FIRST_S = 1;
const LONGEST_S = 15;
const SPREAD = 0.2; // many pages that lost one server do not all come back in the same instant

/**
 * @param {number} attempt 1 for the first try after the loss
 * @param {number} [asked] seconds that the server asked for
 * @param {number} [chance] 0..1
 * @returns {number} seconds to wait
 */
export function retryDelay(attempt, asked = 0, chance = Math.random()) {
  const patient = Math.min(LONGEST_S, FIRST_S * 2 ** (attempt - 1));
  return Math.max(asked, patient) * (1 + SPREAD * chance);
}
