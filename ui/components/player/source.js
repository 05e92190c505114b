// The service, over HTTP: what of a job can be heard, its parts and its waveforms.
// The ticket travels in a header, never in an address.

const RENEWAL_S = 20; // so long the page may take to get a new ticket
const FIRST_WAIT_S = 1;
const LONGEST_WAIT_S = 15;

/** Why something could not be fetched. `kind`: access, gone, not_ready, offline, failed. */
export class SourceError extends Error {
  constructor(kind, detail = kind, waitS = undefined) {
    super(detail);
    this.kind = kind;
    this.waitS = waitS; // seconds that the service asks to wait
  }
}

/** The audio of one job. */
export class Source {
  /**
   * @param {string} address of the service, without a slash at its end
   * @param {string} job its id
   * @param {string} ticket
   * @param {() => void} renew asks the page for a new ticket; setTicket brings it
   */
  constructor(address, job, ticket, renew) {
    this.base = `${address}/jobs/${encodeURIComponent(job)}`;
    this.ticket = ticket;
    this.renew = renew;
    this.renewal = null;
    this.waiting = new Set(); // called with the new ticket
  }

  /** Take a new ticket, and go on with what waits for it. */
  setTicket(ticket) {
    if (ticket === this.ticket) return;
    this.ticket = ticket;
    for (const go of [...this.waiting]) go();
  }

  /** What can be heard now. */
  async audio(signal) {
    return (await this.#get("/audio", signal)).json();
  }

  /** One part of one track, as the bytes of a FLAC file. */
  async part(name, number, signal) {
    return (await this.#get(`/audio/${encodeURIComponent(name)}/${number}`, signal)).arrayBuffer();
  }

  /** Waveforms of the stems of a finished job. */
  async peaks(buckets, signal) {
    return (await this.#get(`/peaks?buckets=${buckets}`, signal)).json();
  }

  /**
   * Call it until it works; wait longer and longer in between.
   *
   * @param {() => Promise<T>} call
   * @param {AbortSignal} signal
   * @param {(error: SourceError) => void} onFailure called each time that it does not
   * @param {string[]} passing kinds of errors that may pass
   * @returns {Promise<T>}
   * @template T
   */
  async insist(call, signal, onFailure, passing = ["offline"]) {
    for (let wait = FIRST_WAIT_S; ; wait = Math.min(wait * 2, LONGEST_WAIT_S)) {
      try {
        return await call();
      } catch (error) {
        if (!passing.includes(error.kind)) throw error;
        onFailure(error);
        await pause(error.waitS ?? wait, signal);
      }
    }
  }

  async #get(path, signal) {
    let response;
    // One new ticket may come too late to open what it should; two that do not open it mean that nothing will.
    for (let renewals = 0; ; renewals++) {
      const used = this.ticket;
      response = await this.#fetch(path, signal);
      const refused = response.status === 401 || response.status === 403;
      if (!refused || renewals === 2) break;
      // Another request may have brought the new ticket while this one was under way.
      if (used === this.ticket) await this.#newTicket(signal);
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    throw problemOf(response, problem.code);
  }

  async #fetch(path, signal) {
    try {
      return await fetch(this.base + path, { headers: { "X-Ticket": this.ticket }, credentials: "omit", signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new SourceError("offline");
    }
  }

  #newTicket(signal) {
    // Requests that were refused together ask once.
    this.renewal ??= new Promise((resolve, reject) => {
      const end = (settle) => {
        clearTimeout(late);
        this.waiting.delete(go);
        this.renewal = null;
        settle();
      };
      const go = () => end(resolve);
      const late = setTimeout(() => end(() => reject(new SourceError("access"))), RENEWAL_S * 1000);
      this.waiting.add(go);
      this.renew();
    });
    return abortable(this.renewal, signal);
  }
}

function problemOf(response, code) {
  const { status } = response;
  const wait = Math.min(Number(response.headers.get("Retry-After")), 60) || undefined;
  if (code === "part_not_ready") return new SourceError("not_ready", code, wait);
  if (status === 401 || status === 403) return new SourceError("access");
  if (status === 404 || status === 410) return new SourceError("gone");
  if (status === 429 || status >= 500) return new SourceError("offline", code, wait);
  return new SourceError("failed", `${status} ${code ?? ""}`);
}

function pause(seconds, signal) {
  let timer;
  const waited = new Promise((resolve) => (timer = setTimeout(resolve, seconds * 1000)));
  return abortable(waited, signal).finally(() => clearTimeout(timer));
}

function abortable(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(new DOMException("aborted", "AbortError"));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
