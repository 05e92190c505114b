// What is seen of a session. Names come from users and problems from afar: they are text, and never markup.

import { NO_AUDIO } from "./service.js";
import { filled, size, time, wrong } from "./words.js";

/** Shows a session in an element that holds uploader.html. */
export class View {
  #rows = new Map(); // transfer, or interrupted upload -> its <li>
  #spoken = new WeakMap(); // transfer -> the state that was spoken last
  #find;
  #template;
  #session = null;
  #texts;
  #open;

  /** @param {ShadowRoot|HTMLElement} root */
  constructor(root) {
    this.#find = (name) => root.querySelector(`.${name}`);
    this.update = () => this.#update();
    this.#template = root.querySelector("template").content.firstElementChild;
    const [zone, input] = [this.#find("zone"), root.querySelector("input")];
    input.addEventListener("change", () => {
      this.#session.add([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
    let inside = 0;
    const over = (by) => zone.classList.toggle("over", (inside = Math.max(0, inside + by)) > 0);
    zone.addEventListener("dragenter", (event) => (event.preventDefault(), over(1)));
    zone.addEventListener("dragleave", () => over(-1));
    zone.addEventListener("dragover", (event) => event.preventDefault());
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      over(-inside);
      const dropped = [...event.dataTransfer.items].filter((item) => item.kind === "file");
      const files = dropped.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory);
      if (files.length < dropped.length) this.#say(this.#texts.no_folders);
      this.#session.add(files.map((item) => item.getAsFile()));
    });
  }

  /**
   * Show a session.
   *
   * @param {import("./session.js").Session} session
   * @param {object} texts every sentence
   * @param {string} accept types that the browser offers first
   * @param {(jobId: string) => void} open a job
   */
  show(session, texts, accept, open) {
    if (this.#session !== session) {
      this.hide();
      this.#session = session;
      session.addEventListener("change", this.update);
      // A file that is dropped beside the zone would replace the page.
      for (const name of ["dragover", "drop"]) addEventListener(name, refuse);
    }
    [this.#texts, this.#open] = [texts, open];
    this.#find("zone").querySelector("input").accept = accept;
    this.#update();
  }

  /** Show nothing any more. */
  hide() {
    this.#session?.removeEventListener("change", this.update);
    this.#session = null;
    for (const name of ["dragover", "drop"]) removeEventListener(name, refuse);
    this.#rows.forEach((row) => row.remove());
    this.#rows.clear();
  }

  #update() {
    const [session, texts] = [this.#session, this.#texts];
    write(this.#find("call"), texts.call);
    const most = session.largest ? filled(texts.most, { largest: size(session.largest) }) : "";
    write(this.#find("hint"), `${texts.types} ${most}`.trim());
    write(this.#find("trouble"), session.reachable ? "" : texts.unreachable);
    const shown = [...session.interrupted, ...session.transfers];
    for (const [key, row] of this.#rows) {
      if (shown.includes(key)) continue;
      this.#keepFocus(row);
      row.remove();
      this.#rows.delete(key);
    }
    const list = this.#find("files");
    for (const key of shown) {
      if (!this.#rows.has(key)) this.#rows.set(key, list.appendChild(this.#row(key)));
      if ("file" in key) this.#showTransfer(key, this.#rows.get(key));
      else this.#showInterrupted(key, this.#rows.get(key));
    }
  }

  #row(key) {
    const row = this.#template.cloneNode(true);
    const [open, again, remove] = row.querySelectorAll("button");
    open.addEventListener("click", () => this.#open(key.jobId));
    again.addEventListener("click", () => this.#session.retry(key));
    remove.addEventListener("click", () =>
      "file" in key ? this.#session.remove(key) : this.#session.discard(key),
    );
    write(row.querySelector(".name"), key.name);
    row.querySelector(".name").title = key.name;
    write(row.querySelector(".size"), size(key.size));
    return row;
  }

  #showTransfer(transfer, row) {
    const { state, problem } = transfer;
    const texts = this.#texts;
    const percent = Math.floor((100 * transfer.sent) / Math.max(1, transfer.size));
    const words = state === "failed" ? wrong(problem, texts, this.#session.largest) : this.#progress(transfer, percent);
    this.#showRow(row, transfer, state, percent, words);
    label(row.querySelector(".open"), state === "done" && transfer.jobId && texts.open, transfer.name);
    const hopeless =
      problem?.status === NO_AUDIO || ["file_empty", "file_too_large", "file_unreadable"].includes(problem?.code);
    label(row.querySelector(".again"), state === "failed" && !hopeless && texts.again, transfer.name);
    const verb = transfer.active || state === "waiting" ? texts.cancel : texts.remove;
    label(row.querySelector(".remove"), state !== "submitting" && verb, transfer.name);
    if (this.#spoken.get(transfer) !== state && ["done", "failed", "retrying"].includes(state)) {
      this.#say(`${transfer.name}: ${words}`);
    }
    this.#spoken.set(transfer, state);
  }

  #showInterrupted(one, row) {
    const percent = Math.floor((100 * one.offset) / Math.max(1, one.size));
    this.#showRow(row, one, "interrupted", percent, filled(this.#texts.interrupted, { percent }));
    label(row.querySelector(".open"), false);
    label(row.querySelector(".again"), false);
    label(row.querySelector(".remove"), this.#texts.discard, one.name);
  }

  #showRow(row, key, state, percent, words) {
    row.dataset.state = state;
    const bar = row.querySelector(".bar");
    bar.hidden = ["done", "failed", "waiting"].includes(state);
    bar.firstElementChild.style.width = `${percent}%`;
    bar.setAttribute("aria-label", key.name);
    bar.setAttribute("aria-valuenow", percent);
    bar.setAttribute("aria-valuetext", words);
    write(row.querySelector(".state"), words);
  }

  #progress({ state, sent, size: all, speed, jobId }, percent) {
    const texts = this.#texts;
    if (state === "done" && !jobId) return texts.states.collected;
    if (state !== "uploading") return texts.states[state];
    if (!speed) return filled(texts.states.uploading, { percent });
    const left = time((all - sent) / speed, texts);
    return filled(texts.progress, { percent, speed: size(speed), left });
  }

  /** The keyboard must not fall back to the top of the page with a row that goes. */
  #keepFocus(row) {
    if (!row.contains(row.getRootNode().activeElement)) return;
    const next = (row.nextElementSibling ?? row.previousElementSibling)?.querySelector(".remove:not([hidden])");
    (next ?? this.#find("zone").querySelector("input")).focus();
  }

  #say(words) {
    write(this.#find("spoken"), words);
  }
}

const refuse = (event) => event.preventDefault();

/** Only what has changed: else a screen reader would begin anew, and a selection be lost. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function label(button, text, name = "") {
  button.hidden = !text;
  write(button, text || "");
  button.setAttribute("aria-label", `${text} ${name}`.trim());
}
