/**
 * Queue ticket: this page's place in the queue of a full server, under a token of its own, sent with each attempt.
 * It is given back as soon as nobody wants it any more, so that those behind need not wait until it expires.
 */
import { sendDelete } from "./delete_request.js";

let ticket = fresh();
let isHeld = false;

function fresh() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** To be sent with an attempt: asking again with it keeps the place. */
export function queueTicket() {
  return ticket;
}

/** The server was full: from now on there may be a place to give back. */
export function holdTicket() {
  isHeld = true;
}

/** The server has admitted this page; the ticket is used up. */
export function ticketUsed() {
  isHeld = false;
}

/** Nobody waits here any more. Safe to call at any time, also while the page is going away. */
export async function giveTicketBack() {
  if (!isHeld) return;
  const former = ticket;
  isHeld = false;
  ticket = fresh(); // this may reach the server after the next try
  await sendDelete(`whip?ticket=${former}`);
}
