// The service, as far as a browser speaks to it outside of tus.

const WAITS_MS = [500, 1000, 2000, 4000, 8000, 15_000, 30_000, 30_000];
/** The service's answer to bytes that are no audio. */
export const NO_AUDIO = 415;
/** Seconds that an answer is waited for which says of a batch's newest file what has become of it. */
const TAKEN_WITHIN_S = 2;
const LATER = new Set([408, 409, 423, 500, 502, 503, 504]);

/** What the service has refused. `problem` is `{status, code, detail, hint}`, of which all may be empty. */
export class Refused extends Error {
  /**
   * @param {number} status of HTTP; 0: there was no answer
   * @param {string} text body of the answer: RFC 9457, unless something in between answered
   */
  constructor(status, text = "") {
    super(`HTTP ${status}`);
    this.problem = { status, code: "", detail: "", hint: "", ...parsed(text) };
  }
}

function parsed(text) {
  try {
    const { code, detail, hint } = JSON.parse(text);
    return { code: said(code), detail: said(detail), hint: said(hint) };
  } catch {
    return {};
  }
}

const said = (value) => (typeof value === "string" ? value : "");

/** The service below one address. */
export class Service {
  /**
   * @param {string} address of the API; a path is one of this page's own origin
   * @param {import("./tickets.js").Tickets} tickets
   */
  constructor(address, tickets) {
    this.address = new URL(address, location.href).href.replace(/\/+$/, "");
    this.tickets = tickets;
  }

  /** The address of an upload. A proxy may show the API below a path that the service does not know of. */
  upload(id) {
    return `${this.address}/uploads/${encodeURIComponent(id)}`;
  }

  /** Size of the largest recording in bytes. @throws {Refused} */
  async largest() {
    const answer = await this.#fetch("/uploads", { method: "OPTIONS" });
    const bytes = Number(answer.headers.get("Tus-Max-Size"));
    if (!answer.ok || !bytes) throw new Refused(answer.status);
    return bytes;
  }

  /**
   * How many bytes of an upload are there.
   *
   * @returns {Promise<number|null>} null: there is no such upload any more
   * @throws {Refused}
   */
  async offset(id) {
    const answer = await this.#withTicket("/uploads", `/uploads/${encodeURIComponent(id)}`, { method: "HEAD" });
    if (answer.status === 404 || answer.status === 410) return null;
    if (!answer.ok) throw new Refused(answer.status);
    return Number(answer.headers.get("Upload-Offset"));
  }

  /** Delete an upload, or leave that to its expiry. */
  async discard(id) {
    try {
      await this.#withTicket("/uploads", `/uploads/${encodeURIComponent(id)}`, { method: "DELETE" });
    } catch {
      // It is deleted a day after its last byte.
    }
  }

  /**
   * Make a job of a finished upload, patiently while the service is busy or away.
   *
   * @param {string} id of the upload
   * @param {object} options fields of the API's JobOptions
   * @param {() => boolean} goOn whether it is still wanted
   * @returns {Promise<string>} id of the job
   * @throws {Refused}
   */
  submit(id, options, goOn) {
    return this.#patiently(() => this.#submitOnce(id, options), goOn);
  }

  /**
   * Make a finished upload a part of a batch, which begins with its first.
   *
   * @param {{id: string | null, turn: Promise}} batch
   * @param {string} id of the upload
   * @param {object} options fields of the API's JobOptions
   * @param {() => boolean} goOn whether it is still wanted
   * @returns {Promise<string | null>} id of the job; null: it will have one when there is room
   * @throws {Refused}
   */
  collect(batch, id, options, goOn) {
    return this.#patiently(() => {
      // One after another: the first begins the batch, and the last item of an answer is one's own.
      const turn = batch.turn.then(() => this.#collectOnce(batch, id, options));
      batch.turn = turn.catch(() => null);
      return turn;
    }, goOn);
  }

  async #patiently(once, goOn) {
    for (let attempt = 0; ; attempt++) {
      try {
        return await once();
      } catch (error) {
        const { status, code } = error.problem ?? {};
        const later = error instanceof Refused && (status === 0 || LATER.has(status));
        if (!later || code === "upload_unfinished" || attempt === WAITS_MS.length || !goOn()) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, WAITS_MS[attempt]));
    }
  }

  async #submitOnce(id, options) {
    const answer = await this.#withTicket("/process", "/process", {
      method: "POST",
      // Sent twice, because an answer was lost, it is the same job.
      headers: { "Content-Type": "application/json", "Idempotency-Key": id },
      body: JSON.stringify({ ...options, upload_id: id }),
    });
    const text = await answer.text().catch(() => "");
    if (!answer.ok) throw new Refused(answer.status, text);
    return JSON.parse(text).id;
  }

  async #collectOnce(batch, id, options) {
    const path = batch.id ? `/batches/${encodeURIComponent(batch.id)}/items` : "/batches";
    const answer = await this.#withTicket("/batches", `${path}?wait=${TAKEN_WITHIN_S}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": id },
      body: JSON.stringify({ items: [{ ...options, upload_id: id }] }),
    });
    const text = await answer.text().catch(() => "");
    if (!answer.ok) throw new Refused(answer.status, text);
    const said = JSON.parse(text);
    batch.id = said.id;
    const { status, job_id, error } = said.items.at(-1);
    if (status === "refused") {
      const { code, message, hint } = error;
      throw new Refused(code === "input_not_audio" ? NO_AUDIO : 422, JSON.stringify({ code, detail: message, hint }));
    }
    return job_id;
  }

  async #withTicket(opens, path, { headers = {}, ...rest }) {
    for (let attempt = 0; ; attempt++) {
      const ticket = await this.tickets.get(opens);
      const said = { "Tus-Resumable": "1.0.0", "X-Ticket": ticket, ...headers };
      const answer = await this.#fetch(path, { ...rest, headers: said });
      if ((answer.status !== 401 && answer.status !== 403) || attempt) return answer;
      this.tickets.refuse(ticket);
    }
  }

  async #fetch(path, request) {
    try {
      return await fetch(this.address + path, { cache: "no-store", ...request });
    } catch {
      throw new Refused(0);
    }
  }
}
