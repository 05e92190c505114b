// One file on its way: by tus to the service, and there into a job.

import tus from "./tus.js";
import { NO_AUDIO, Refused } from "./service.js";

const PIECE_BYTES = 32 * 2 ** 20; // as the Python client: proxies often refuse more than 100 MB
const DELAYS_MS = [0, 1000, 2000, 4000, 8000, 15_000, ...Array(10).fill(30_000)];
const SILENT_MS = 45_000; // a connection that carries nothing for so long is dead, whatever it says
const PASSING = new Set([404, 408, 409, 410, 423, 460, 500, 502, 503, 504]);
const SPEED_OVER_MS = 5000;

/**
 * A file and what has become of it.
 *
 * `state` is one of: waiting, uploading, retrying, submitting, done, failed, gone (cancelled or removed).
 */
export class Transfer {
  #service;
  #changed;
  #upload = null;
  #marks = []; // [time, bytes]: the last few seconds, for the speed
  #heard = 0; // when a byte last went out
  #refusals = 0; // of tickets, one after the other
  #asking = false; // whether a request of it waits for a ticket

  /**
   * @param {File} file
   * @param {object} options of its job
   * @param {string} fingerprint equal for the same file, so that its upload is found again
   * @param {import("./service.js").Service} service
   * @param {() => void} changed is called when `state` is another
   * @param {{id: string | null, turn: Promise} | null} batch that it is part of
   */
  constructor(file, options, fingerprint, service, changed, batch = null) {
    Object.assign(this, { file, options, fingerprint, batch, name: file.name, size: file.size });
    Object.assign(this, { state: "waiting", sent: 0, problem: null, uploadId: null, jobId: null });
    this.#service = service;
    this.#changed = changed;
  }

  /** Whether it is on its way. */
  get active() {
    return ["uploading", "retrying", "submitting"].includes(this.state);
  }

  /** Bytes a second, lately; null until that is known. */
  get speed() {
    const now = performance.now();
    const first = this.#marks.find(([time]) => now - time < SPEED_OVER_MS);
    const last = this.#marks.at(-1);
    if (!first || last[0] - first[0] < 500 || last[1] <= first[1]) return null;
    return ((last[1] - first[1]) * 1000) / (now - first[0]);
  }

  /** Refuse it before a byte is sent. */
  fail(problem) {
    this.problem = problem;
    this.#become("failed");
  }

  /** Send it, and make its job. Ends when it is done, failed or gone. */
  async run() {
    this.problem = null;
    this.#refusals = 0;
    try {
      this.#become("uploading");
      await this.#send();
      this.#become("submitting");
      const goOn = () => this.state === "submitting";
      this.jobId = await (this.batch
        ? this.#service.collect(this.batch, this.uploadId, this.options, goOn)
        : this.#service.submit(this.uploadId, this.options, goOn));
      await this.#forget();
      this.#become("done");
    } catch (error) {
      const { problem } = error instanceof Refused ? error : new Refused(0);
      const { uploadId } = this;
      const useless = problem.status === NO_AUDIO && uploadId; // sent again it would be refused again
      if (useless || ["upload_unknown", "gone"].includes(problem.code)) await this.#forget();
      if (this.state !== "gone") this.fail(problem);
      if (useless) await this.#service.discard(uploadId);
    }
  }

  /** Stop it, and delete what has arrived; of one that has become a job, only forget it. */
  async remove() {
    const id = this.jobId ? null : this.uploadId;
    this.stop();
    await this.#forget();
    if (id) await this.#service.discard(id);
  }

  /** Stop it; what has arrived stays there. */
  stop() {
    this.#upload?.abort();
    this.#become("gone");
  }

  /** Try again at once, where it waits before another attempt, or where nothing has moved for long. */
  wake({ onlySilent = false } = {}) {
    if (!this.#upload || this.#asking || !["uploading", "retrying"].includes(this.state)) return;
    if (onlySilent && (this.state === "retrying" || performance.now() - this.#heard < SILENT_MS)) return;
    this.#heard = performance.now();
    this.#upload.abort().then(() => this.state !== "gone" && this.#upload.start());
  }

  #become(state) {
    if (this.state === state || this.state === "gone") return;
    this.state = state;
    this.#changed();
  }

  async #send() {
    const { promise, resolve, reject } = settled();
    const upload = new tus.Upload(this.file, {
      endpoint: `${this.#service.address}/uploads`,
      httpStack: this.#http(),
      chunkSize: PIECE_BYTES,
      metadata: { filename: this.name },
      fingerprint: async () => this.fingerprint,
      storeFingerprintForResuming: tus.canStoreURLs,
      retryDelays: DELAYS_MS,
      onBeforeRequest: (request) => this.#authorize(request),
      onAfterResponse: (request, response) => this.#judge(request, response),
      onShouldRetry: (error) => this.#again(error),
      onProgress: (sent) => this.#moved(sent),
      onUploadUrlAvailable: () => (this.uploadId = idOf(upload.url)),
      onSuccess: () => resolve(),
      onError: (error) => reject(error.causingError ?? error),
    });
    this.#upload = upload;
    this.#heard = performance.now();
    const [previous] = await upload.findPreviousUploads();
    if (previous) upload.resumeFromPreviousUpload(previous);
    else if (this.uploadId) upload.options.uploadUrl = this.#service.upload(this.uploadId);
    if (this.state !== "gone") upload.start();
    await promise;
    this.sent = this.size;
    this.#upload = null;
  }

  #http() {
    const stack = new tus.DefaultHttpStack({});
    const endpoint = `${this.#service.address}/uploads`;
    return {
      getName: () => stack.getName(),
      // An answer says where an upload is; the ticket only ever goes to the service that it is for.
      createRequest: (method, url) =>
        stack.createRequest(method, url === endpoint ? url : this.#service.upload(idOf(url))),
    };
  }

  async #authorize(request) {
    this.#asking = true;
    const ticket = await this.#service.tickets.get("/uploads");
    this.#asking = false;
    if (this.state === "gone") throw new Error("not wanted any more");
    this.#heard = performance.now();
    request.setHeader("X-Ticket", ticket);
  }

  #judge(request, response) {
    const status = response.getStatus();
    if (status >= 200 && status < 300) {
      this.#refusals = 0;
      return;
    }
    if (status === 401 || status === 403) {
      this.#refusals += 1;
      this.#service.tickets.refuse(request.getHeader("X-Ticket"));
    }
    // tus-js-client would begin anew whenever HEAD fails, and so after a proxy's 502 or with an old ticket.
    if (request.getMethod() === "HEAD" && (status === 404 || status === 410)) return;
    throw new Refused(status, response.getBody());
  }

  #again(error) {
    const { status } = error.causingError instanceof Refused ? error.causingError.problem : { status: 0 };
    // 429: as many uploads wait as may; of a batch some will soon be jobs.
    const passes = status === 0 || PASSING.has(status) || (status === 429 && this.batch);
    const again = status === 401 || status === 403 ? this.#refusals < 2 : passes;
    if (again) {
      this.#marks = [];
      this.#become("retrying");
      this.#checkReadable();
    }
    return again;
  }

  // A file that was changed or taken away looks like a broken connection.
  async #checkReadable() {
    try {
      await this.file.slice(0, 1).arrayBuffer();
    } catch {
      this.#upload?.abort();
      this.fail({ status: 0, code: "file_unreadable", detail: "", hint: "" });
    }
  }

  #moved(sent) {
    this.sent = sent;
    this.#heard = performance.now();
    this.#marks.push([this.#heard, sent]);
    while (this.#heard - this.#marks[0][0] > SPEED_OVER_MS) this.#marks.shift();
    this.#become("uploading");
  }

  async #forget() {
    await forget((url, key) => key.startsWith(`tus::${this.fingerprint}::`));
    this.uploadId = null;
  }
}

/** Id of the upload at an address. @param {string} url */
export const idOf = (url) => decodeURIComponent(new URL(url, location.href).pathname.split("/").pop());

/**
 * Uploads that this browser began and did not end.
 *
 * @param {string} prefix of their fingerprints
 * @returns {Promise<{name: string, size: number, uploadId: string, fingerprint: string}[]>}
 */
export async function remembered(prefix) {
  const { urlStorage } = tus.defaultOptions;
  return (await urlStorage.findAllUploads())
    .filter(({ urlStorageKey, uploadUrl }) => uploadUrl && urlStorageKey.startsWith(`tus::${prefix}`))
    .map(({ urlStorageKey, uploadUrl, metadata, size }) => ({
      name: String(metadata?.filename ?? ""),
      size: Number(size),
      uploadId: idOf(uploadUrl),
      fingerprint: urlStorageKey.split("::")[1],
    }));
}

/** Forget uploads that this browser began. @param {(url: string, key: string) => boolean} which */
export async function forget(which) {
  const { urlStorage } = tus.defaultOptions;
  for (const { uploadUrl, urlStorageKey } of await urlStorage.findAllUploads()) {
    if (which(uploadUrl ?? "", urlStorageKey)) await urlStorage.removeUpload(urlStorageKey);
  }
}

function settled() {
  let resolve, reject;
  const promise = new Promise((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
}
