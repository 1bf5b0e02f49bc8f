/** Whether the other side is still there: it is asked every two seconds, and anything that it says counts. */

const PERIOD_MS = 2000;
const NOTICED_MS = 6000;
const LOST_MS = 12000;

export class Heartbeat {
  #ask;
  #onSilent;
  #onLost;
  #timer = 0;
  #lastHeard = 0;

  /**
   * @param {() => void} ask
   * @param {() => void} onSilent it has been silent for long enough to say so
   * @param {() => void} onLost it is gone
   */
  constructor(ask, onSilent, onLost) {
    this.#ask = ask;
    this.#onSilent = onSilent;
    this.#onLost = onLost;
  }

  begin() {
    this.heard();
    this.#ask();
    this.#timer = window.setInterval(() => this.#beat(), PERIOD_MS);
  }

  heard() {
    this.#lastHeard = performance.now();
  }

  end() {
    clearInterval(this.#timer);
  }

  #beat() {
    this.#ask();
    const silence = performance.now() - this.#lastHeard;
    if (silence > LOST_MS) this.#onLost();
    else if (silence > NOTICED_MS) this.#onSilent();
  }
}
