// Short-lived permissions. The page gives them, and is asked for new ones shortly before they end.

const ASK_AGAIN_MS = 10_000; // the page may have been away when it was asked
const FRESH = 0.8; // of its lifetime: then a request that is on its way still arrives in time

/** Hands out tickets for paths of the service. */
export class Tickets {
  #ask;
  #held = new Map(); // path -> {text, until}
  #waiting = []; // {path, resolve}
  #timer = null;

  /** @param {() => void} ask the page for new tickets */
  constructor(ask) {
    this.#ask = ask;
  }

  /**
   * Take what the page gives.
   *
   * @param {Object<string, {text: string, lasts_s: number}>} given by path
   */
  give(given) {
    for (const [path, { text, lasts_s }] of Object.entries(given)) {
      if (this.#held.get(path)?.text === text) continue;
      this.#held.set(path, { text, until: Date.now() + lasts_s * 1000 * FRESH });
    }
    this.#waiting = this.#waiting.filter(({ path, resolve }) => {
      const text = this.#fresh(path);
      if (text) resolve(text);
      return !text;
    });
    if (!this.#waiting.length) this.#rest();
  }

  /**
   * A ticket that is good for a request now; waits for one where there is none.
   *
   * @param {string} path such as /uploads
   * @returns {Promise<string>}
   */
  get(path) {
    const text = this.#fresh(path);
    if (text) return Promise.resolve(text);
    return new Promise((resolve) => {
      this.#waiting.push({ path, resolve });
      if (this.#timer !== null) return;
      this.#ask();
      this.#timer = setInterval(() => this.#ask(), ASK_AGAIN_MS);
    });
  }

  /** The service has refused a ticket: never use it again. @param {string} text */
  refuse(text) {
    for (const held of this.#held.values()) if (held.text === text) held.until = 0;
  }

  /** Ask at once, where somebody waits: the page is back. */
  askAgain() {
    if (this.#timer !== null) this.#ask();
  }

  /** Nobody will wait any more. */
  close() {
    this.#waiting = [];
    this.#rest();
  }

  #fresh(path) {
    const held = this.#held.get(path);
    return held && Date.now() < held.until ? held.text : null;
  }

  #rest() {
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
