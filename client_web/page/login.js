/** Login: the token that a server may ask for, traded for a cookie that no script can read. */
import { at, button, input, place, setText } from "./dom.js";
import { keep, kept } from "./storage.js";

const NO_ANSWER = "The server does not answer.";

export class Login {
  #dialog = at("login", HTMLDialogElement);
  #onDone;

  /**
   * @param {() => void} onDone logged in or out: what the server answers now is another thing
   * @param {() => Promise<void>} onLeave before the cookie is gone: whatever needs it has to end
   * @param {(words: string) => void} onProblem
   */
  constructor(onDone, onLeave, onProblem) {
    this.#onDone = onDone;
    button("logout").hidden = kept("logged-in", false) !== true;
    button("logout").addEventListener("click", async () => {
      await onLeave();
      const problem = await logout();
      onProblem(problem);
      if (problem) return;
      this.#remember(false);
      this.#onDone();
    });
    at("login-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault(); // a token must never get into an address
      void this.#send();
    });
  }

  /** Safe to call again and again. */
  show() {
    if (this.#dialog.open) return;
    this.#remember(false);
    setText(place("login-words"), "");
    this.#dialog.showModal();
  }

  async #send() {
    const token = input("login-token").value.trim();
    const problem = token ? await login(token) : "Type the token that you were given.";
    setText(place("login-words"), problem);
    if (problem) return;
    input("login-token").value = "";
    this.#remember(true);
    this.#dialog.close();
    this.#onDone();
  }

  /** Kept, because no script sees the cookie. @param {boolean} isLoggedIn */
  #remember(isLoggedIn) {
    keep("logged-in", isLoggedIn);
    button("logout").hidden = !isLoggedIn;
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

/** @returns {Promise<string>} what is wrong, or nothing */
async function logout() {
  try {
    const response = await fetch("logout", { method: "POST" });
    return response.ok ? "" : `The server refuses to log you out (${response.status}): ${await response.text()}`;
  } catch {
    return NO_ANSWER;
  }
}
