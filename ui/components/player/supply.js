// Fetches and decodes the parts around the play head, and forgets the others: memory stays flat however long a mix is.

import { SourceError } from "./source.js";

const AHEAD_S = 30;
const AT_ONCE = 6; // what a browser opens to one host anyway
const POLL_S = 2;
const FIRST_POLL_S = 0.5; // until there is something of a stem: somebody waits for it
const NOT_YET = ["offline", "not_ready"]; // a job that waits for its turn has no audio yet

/**
 * Decodes a part.
 *
 * @param {ArrayBuffer} bytes
 * @param {number} sampleRate in Hz
 * @returns {Promise<Int16Array[]>} its channels, exactly as they were encoded
 */
export async function decode(bytes, sampleRate) {
  // An offline context decodes without the user's leave to play, and resamples nothing at the parts' own rate.
  const audio = await new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(bytes);
  return Array.from({ length: audio.numberOfChannels }, (_, c) => {
    const from = audio.getChannelData(c);
    const channel = new Int16Array(from.length);
    for (let i = 0; i < from.length; i++) channel[i] = Math.round(from[i] * 32768);
    return channel;
  });
}

/** Emits `part` (name, number, channels), `retain` (numbers), `audio` (the service's answer) and `trouble` (error). */
export class Supply extends EventTarget {
  /** @param {import("./source.js").Source} source */
  constructor(source) {
    super();
    this.source = source;
    this.audio = null;
    this.have = new Map(); // number -> Set of track names
    this.flying = new Map(); // "number name" -> AbortController
    this.target = { position: 0, loop: null, heard: null };
    this.blocked = new Set(); // ids of parts that the service did not have yet
    this.following = false; // whether the service is asked again and again
    this.stopped = false; // after an error that does not pass by itself
    this.ending = new AbortController();
  }

  /** Learn what there is, and keep asking while the job runs. Returns after the first answer. */
  async open() {
    await this.#ask();
    this.#follow();
  }

  /** Stop everything. */
  close() {
    this.ending.abort();
    for (const flight of this.flying.values()) flight.abort();
  }

  /** Try again after an error. */
  resume() {
    this.stopped = false;
    this.blocked.clear();
    this.#go();
    this.#follow();
  }

  get partSamples() {
    return Math.round(this.audio.part_s * this.audio.sample_rate);
  }

  /** Whether something of a stem can be heard. */
  get begun() {
    return this.audio.tracks.some((track) => track.kind === "stem" && track.available_s > 0);
  }

  /** Samples of the mix as far as they are known. */
  get samples() {
    const there = Math.max(...this.audio.tracks.map((track) => track.available_s), 0) * this.audio.sample_rate;
    return this.audio.samples ?? Math.round(there);
  }

  /** Fetch from here on. @param {object} target position and loop in samples; heard: set of track names */
  aim(target) {
    Object.assign(this.target, target);
    this.#go();
  }

  /** Whether a part of a track can be fetched by now. */
  offers(track, number) {
    const { audio } = this;
    const first = number * audio.part_s;
    if (audio.samples !== null && first * audio.sample_rate >= audio.samples) return false;
    const length_s = audio.samples === null ? Infinity : audio.samples / audio.sample_rate;
    const end = Math.min((number + 1) * audio.part_s, length_s);
    return audio.complete || track.available_s >= end - 0.5 / audio.sample_rate;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async #ask() {
    const { signal } = this.ending;
    const failed = (error) => this.#emit("trouble", error);
    this.audio = await this.source.insist(() => this.source.audio(signal), signal, failed, NOT_YET);
    this.blocked.clear();
    this.#emit("audio", this.audio);
  }

  async #follow() {
    if (this.following) return;
    this.following = true;
    try {
      while (!this.audio.complete) {
        await new Promise((resolve) => setTimeout(resolve, (this.begun ? POLL_S : FIRST_POLL_S) * 1000));
        if (this.ending.signal.aborted) return;
        await this.#ask();
        this.#go();
      }
    } catch (error) {
      this.#report(error);
    } finally {
      this.following = false;
    }
  }

  /** Part numbers in the order in which they will be heard. */
  #wanted() {
    const { position, loop } = this.target;
    const size = this.partSamples;
    const numbers = [];
    let at = position;
    for (let left = AHEAD_S * this.audio.sample_rate; left >= 0 && at < this.samples; ) {
      const number = Math.floor(at / size);
      if (!numbers.includes(number)) numbers.push(number);
      const inside = loop && at < loop.end;
      const end = Math.min((number + 1) * size, inside ? loop.end : Infinity);
      left -= end - at;
      at = inside && end === loop.end ? loop.start : end;
    }
    return numbers;
  }

  #go() {
    if (!this.audio || this.stopped || this.ending.signal.aborted) return;
    const wanted = this.#wanted();
    if (!wanted.length) return;
    this.#forget([...wanted, wanted[0] - 1]);
    const tracks = this.#inOrder();
    for (const number of wanted) {
      for (const track of tracks) {
        const id = `${number} ${track.name}`;
        if (this.flying.size >= Math.max(AT_ONCE, tracks.length)) return;
        if (this.have.get(number)?.has(track.name) || this.flying.has(id) || this.blocked.has(id)) continue;
        if (this.offers(track, number)) this.#fetch(track.name, number, id);
      }
    }
  }

  #inOrder() {
    const { heard } = this.target;
    const first = (track) => (heard === null || heard.has(track.name) ? 0 : 1);
    return [...this.audio.tracks].sort((a, b) => first(a) - first(b));
  }

  #forget(kept) {
    const before = this.have.size;
    for (const number of [...this.have.keys()]) if (!kept.includes(number)) this.have.delete(number);
    if (this.have.size !== before) this.#emit("retain", kept);
    for (const [id, flight] of this.flying) {
      if (kept.includes(parseInt(id, 10))) continue;
      flight.abort();
      this.flying.delete(id);
    }
  }

  async #fetch(name, number, id) {
    const flight = new AbortController();
    this.flying.set(id, flight);
    const { signal } = flight;
    try {
      const failed = (error) => this.#emit("trouble", error);
      const bytes = await this.source.insist(() => this.source.part(name, number, signal), signal, failed);
      const channels = await decode(bytes, this.audio.sample_rate);
      if (signal.aborted) return;
      if (!this.have.has(number)) this.have.set(number, new Set());
      this.have.get(number).add(name);
      this.#emit("part", { name, number, channels });
    } catch (error) {
      if (error.kind === "not_ready") this.blocked.add(id);
      else this.#report(error);
    } finally {
      // A later flight may have the same id.
      if (this.flying.get(id) === flight) this.flying.delete(id);
    }
    this.#go();
  }

  #report(error) {
    if (error.name === "AbortError" || this.ending.signal.aborted) return;
    this.stopped = true;
    this.#emit("trouble", error instanceof SourceError ? error : new SourceError("failed", String(error)));
  }
}
