// The uploads of one user on one page. It outlives what is shown of it: they go on while another page is looked at.

import { Service } from "./service.js";
import { Tickets } from "./tickets.js";
import { Transfer, forget, remembered } from "./transfer.js";

const AT_A_TIME = 2;
const MOST_REMEMBERED = 20; // as many as the service keeps for an owner, unless it is set otherwise

/** Files, a few of which are on their way at the same time. Emits `change`. */
export class Session extends EventTarget {
  #page = null; // how the page is reached, while it shows this
  #timer = null;

  /**
   * @param {{api_url: string, owner: string}} data of the page
   */
  constructor({ api_url, owner }) {
    super();
    this.owner = owner;
    this.options = {};
    this.transfers = [];
    this.interrupted = []; // {name, size, uploadId, fingerprint, offset}
    this.largest = null; // bytes; null until the service has said it
    this.reachable = true;
    this.tickets = new Tickets(() => this.#page?.ask());
    this.service = new Service(api_url, this.tickets);
    this.prefix = ["audio-pipeline", owner, this.service.address].map(encodeURIComponent).join(":");
    this.back = () => this.transfers.forEach((transfer) => transfer.wake());
    this.stay = (event) => this.busy && event.preventDefault();
    addEventListener("online", this.back);
    addEventListener("beforeunload", this.stay);
    this.#learn();
    this.#remember();
  }

  /** Whether something would be lost with the page. */
  get busy() {
    return this.transfers.some((transfer) => transfer.active || transfer.state === "waiting");
  }

  /**
   * Take what the page says.
   *
   * @param {{tickets: object, options: object}} data
   * @param {{ask: () => void, tell: (files: object[]) => void}} page
   */
  attend(data, page) {
    this.#page = page;
    this.options = data.options;
    this.tickets.give(data.tickets);
    this.tickets.askAgain();
    this.#tell();
  }

  /** The page shows something else. @param {object} page that attended */
  leave(page) {
    if (this.#page === page) this.#page = null; // else another showing has come before this one went
  }

  /** Stop everything; what has arrived stays there. */
  close() {
    this.transfers.forEach((transfer) => transfer.stop());
    this.tickets.close();
    clearInterval(this.#timer);
    removeEventListener("online", this.back);
    removeEventListener("beforeunload", this.stay);
  }

  /** Take files. @param {File[]} files */
  add(files) {
    // Begun with the first that has arrived, it grows: no job waits for the last file.
    const batch = files.length > 1 ? { id: null, turn: Promise.resolve() } : null;
    for (const file of files) {
      const fingerprint = `${this.prefix}:${[file.name, file.type, file.size, file.lastModified].map(encodeURIComponent).join(":")}`;
      // Two uploads of one file would be in one another's way.
      if (this.transfers.some((t) => t.fingerprint === fingerprint && (t.active || t.state === "waiting"))) continue;
      this.interrupted = this.interrupted.filter((one) => one.fingerprint !== fingerprint);
      const transfer = new Transfer(file, this.options, fingerprint, this.service, () => this.#changed(), batch);
      this.transfers.push(transfer);
      if (file.size === 0) transfer.fail({ code: "file_empty" });
      else if (this.#tooLarge(file)) transfer.fail({ code: "file_too_large" });
    }
    this.#changed();
  }

  /** Send a file that has failed once more, with the options that are chosen now. */
  retry(transfer) {
    if (this.#tooLarge(transfer.file)) return;
    Object.assign(transfer, { state: "waiting", options: this.options });
    this.#changed();
  }

  /** Stop a file, and take it off the list. */
  async remove(transfer) {
    this.transfers = this.transfers.filter((other) => other !== transfer);
    await transfer.remove();
    this.#changed();
  }

  /** Give up an upload that was interrupted. */
  async discard(one) {
    this.interrupted = this.interrupted.filter((other) => other !== one);
    this.#changed();
    await forget((_, key) => key.startsWith(`tus::${one.fingerprint}::`));
    await this.service.discard(one.uploadId);
  }

  /** Ask the service what it takes. */
  async #learn() {
    try {
      this.largest = await this.service.largest();
      this.reachable = true;
    } catch {
      this.reachable = false;
      setTimeout(() => this.#learn(), 10_000);
    }
    this.#changed();
  }

  async #remember() {
    for (const one of (await remembered(`${this.prefix}:`)).slice(0, MOST_REMEMBERED)) {
      const offset = await this.service.offset(one.uploadId).catch(() => undefined);
      if (offset === null) await forget((_, key) => key.startsWith(`tus::${one.fingerprint}::`));
      if (!(offset >= 0) || this.transfers.some((t) => t.fingerprint === one.fingerprint)) continue;
      this.interrupted.push({ ...one, offset });
      this.#changed();
    }
  }

  #tooLarge(file) {
    return this.largest !== null && file.size > this.largest;
  }

  #changed() {
    const active = this.transfers.filter((transfer) => transfer.active).length;
    const next = active < AT_A_TIME && this.transfers.find((transfer) => transfer.state === "waiting");
    if (next) next.run(); // changes its state, and so comes back here
    this.#watch();
    this.#tell();
    this.dispatchEvent(new Event("change"));
  }

  #watch() {
    if (this.busy && this.#timer === null) {
      this.#timer = setInterval(() => {
        this.transfers.forEach((transfer) => transfer.wake({ onlySilent: true }));
        this.dispatchEvent(new Event("change"));
      }, 500);
    } else if (!this.busy && this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
  }

  #tell() {
    this.#page?.tell(
      this.transfers.map(({ name, size, state, jobId, batch, uploadId, problem }) => ({
        name,
        size,
        state: state === "retrying" || state === "submitting" ? "uploading" : state,
        job_id: jobId,
        batch_id: batch?.id,
        upload_id: uploadId,
        error: problem && { code: problem.code, detail: problem.detail ?? "", hint: problem.hint ?? "" },
      })),
    );
  }
}
