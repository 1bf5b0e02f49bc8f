/** Login: the token that a server may ask for, traded for a cookie that no script can read. */
import { at, input, place, setText } from "./dom.js";

const NO_ANSWER = "The server does not answer.";

export class Login {
  #dialog = at("login", HTMLDialogElement);
  #onDone;

  /** @param {() => void} onDone */
  constructor(onDone) {
    this.#onDone = onDone;
    at("login-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault(); // a token must never get into an address
      void this.#send();
    });
  }

  /** Safe to call again and again. */
  show() {
    if (this.#dialog.open) return;
    setText(place("login-words"), "");
    this.#dialog.showModal();
  }

  async #send() {
    const token = input("login-token").value.trim();
    const problem = token ? await login(token) : "Type the token that you were given.";
    setText(place("login-words"), problem);
    if (problem) return;
    input("login-token").value = "";
    this.#dialog.close();
    this.#onDone();
  }
}

/** @param {string} token @returns {Promise<string>} what is wrong, or nothing */
async function login(token) {
  try {
    const response = await fetch("login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    });
    if (response.ok) return "";
    if (response.status === 401) return "This token is not one of this server, or its time is over.";
    return `The server refuses it (${response.status}): ${await response.text()}`;
  } catch {
    return NO_ANSWER;
  }
}
