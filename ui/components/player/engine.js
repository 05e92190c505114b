// Playback of a job. Looks like a media element, so that the waveforms take it for one; times are seconds.

import { amplitude, gainsOf } from "./gains.js";
import { openOutput } from "./output.js";
import { Peaks, BUCKETS } from "./peaks.js";
import { SourceError } from "./source.js";
import { Supply } from "./supply.js";

const SHORTEST_LOOP_S = 0.1;
const PASSING = ["offline", "not_ready"]; // troubles that are over once the service answers

/**
 * Plays the tracks of a job.
 *
 * Emits, besides the events of media elements: `tracks` (which there are has changed), `peaks` (so have the
 * waveforms), `state` and `loop`. `state` is one of: opening, ready, playing, buffering, error; `trouble` says why.
 */
export class Engine extends EventTarget {
  /**
   * @param {import("./source.js").Source} source
   * @param {import("./faders.js").Faders} faders
   */
  constructor(source, faders) {
    super();
    this.source = source;
    this.faders = faders;
    this.peaks = new Peaks();
    this.tracks = [];
    this.beats = { beats: [], downbeats: [] };
    this.loop = null; // in samples
    this.trouble = null;
    this.output = null;
    this.opening = null;
    this.wanted = false; // whether the user wants sound
    this.kept = new Map(); // "number name" -> a part, until there is a mixer to take it
    this.where = { position: 0, time: 0, rate: 1, since: 0, moving: false, starving: false, playing: false };
    this.serial = 0; // of the last jump: older reports are of another place
    this.rate = 1; // that the mixer was told
    this.said = "";
    // What wavesurfer reads of a media element.
    Object.assign(this, { readyState: 4, volume: 1, muted: false, ended: false, seeking: false, src: "" });
    faders.addEventListener("change", () => this.#mix());
  }

  /** Ask what can be heard, and begin to fetch it. */
  async open() {
    this.supply?.close();
    this.#connect(new Supply(this.source));
    this.#say();
    try {
      await this.supply.open();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Stop, and free everything. */
  close() {
    this.supply?.close();
    this.output?.context.close();
    this.closed = true;
  }

  /** Try again after an error. */
  retry() {
    this.trouble = null;
    if (this.supply.audio) this.supply.resume();
    else this.open();
    this.#say();
  }

  get sampleRate() {
    return this.supply?.audio?.sample_rate ?? 44100;
  }

  get samples() {
    return this.supply?.audio ? this.supply.samples : 0;
  }

  get duration() {
    return this.samples / this.sampleRate;
  }

  get paused() {
    return !this.wanted;
  }

  get playbackRate() {
    return this.faders.rate;
  }

  get currentTime() {
    return this.#position() / this.sampleRate;
  }

  set currentTime(seconds) {
    this.seek(seconds);
  }

  get state() {
    if (this.trouble && !PASSING.includes(this.trouble.kind)) return "error";
    if (!this.supply?.audio) return "opening";
    if (!this.wanted) return "ready";
    return this.where.moving ? "playing" : "buffering";
  }

  async play() {
    if (this.wanted || !this.supply?.audio) return;
    this.wanted = true;
    if (this.#position() >= this.samples && this.supply.audio.complete) this.seek(0);
    this.#emit("play");
    this.#say();
    try {
      await this.#openOutput();
      await this.output.context.resume();
    } catch (error) {
      this.pause();
      this.#fail(new SourceError("output", String(error)));
      return;
    }
    if (this.wanted) this.#jump({ playing: true });
  }

  pause() {
    if (!this.wanted) return;
    // Said from here on, not from where the mixer's last report was.
    this.where = { ...this.where, position: this.#position(), moving: false, playing: false };
    this.wanted = false;
    this.#jump({ playing: false });
    this.#emit("pause");
    this.#say();
  }

  /** @param {number} seconds */
  seek(seconds) {
    const position = Math.round(Math.min(Math.max(seconds, 0), this.duration) * this.sampleRate);
    this.where = { ...this.where, position, moving: false };
    this.#emit("seeking");
    this.#aim();
    this.#jump({ position });
    this.#emit("seeked");
    this.#emit("timeupdate");
    this.#say();
  }

  /** Play this stretch again and again. @param {{start: number, end: number} | null} seconds */
  setLoop(seconds) {
    if (seconds) {
      const start = Math.max(seconds.start, 0);
      const end = Math.min(Math.max(seconds.end, start + SHORTEST_LOOP_S), this.duration);
      this.loop = { start: Math.round(start * this.sampleRate), end: Math.round(end * this.sampleRate) };
    } else {
      this.loop = null;
    }
    this.#aim();
    this.#jump({ loop: this.loop });
    this.#emit("loop");
  }

  /** @param {number[]} beats seconds @param {number[]} downbeats those of them that start a bar */
  setBeats(beats, downbeats) {
    this.beats = { beats, downbeats };
    this.#sendBeats();
  }

  #connect(supply) {
    this.supply = supply;
    supply.addEventListener("audio", ({ detail }) => this.#learn(detail));
    supply.addEventListener("part", ({ detail }) => this.#take(detail));
    supply.addEventListener("retain", ({ detail }) => this.#retain(detail));
    supply.addEventListener("trouble", ({ detail }) => this.#fail(detail));
  }

  #learn(audio) {
    this.#recover();
    const names = (tracks) => tracks.map((track) => `${track.kind} ${track.name}`).join("\n");
    const changed = names(audio.tracks) !== names(this.tracks);
    this.tracks = audio.tracks;
    if (changed) {
      this.#emit("tracks");
      this.#sendBeats();
    }
    this.#post({ set: { total: audio.complete ? this.samples : null } });
    this.#mix();
    this.#emit("durationchange");
    if (audio.complete && !this.measured) this.#measure();
    this.#say();
  }

  async #measure() {
    this.measured = true;
    try {
      this.peaks.take(await this.source.peaks(BUCKETS, this.supply.ending.signal));
    } catch {
      this.measured = false; // The parts that are played are measured here.
    }
    this.#emit("peaks");
  }

  #take({ name, number, channels }) {
    this.#recover();
    if (this.peaks.measure(name, number, channels, this.supply.partSamples)) this.#emit("peaks");
    if (!this.output) this.kept.set(`${number} ${name}`, { name, number, channels });
    else this.#post({ keep: { name, number, channels } }, channels.map((channel) => channel.buffer));
  }

  #retain(numbers) {
    for (const [id, part] of this.kept) if (!numbers.includes(part.number)) this.kept.delete(id);
    this.#post({ retain: numbers });
  }

  #aim() {
    if (!this.supply?.audio) return;
    const gains = this.#gains();
    const heard = new Set(Object.keys(gains).filter((name) => gains[name].some((value) => value !== 0)));
    this.supply.aim({ position: Math.max(Math.floor(this.where.position), 0), loop: this.loop, heard });
  }

  #gains() {
    return gainsOf(this.tracks, this.faders);
  }

  #mix() {
    this.#post({ set: { gains: this.#gains(), click: this.#click() } });
    if (this.faders.rate !== this.rate) {
      this.rate = this.faders.rate;
      this.#jump({ rate: this.rate });
      this.#emit("ratechange");
    }
    this.#aim();
  }

  #click() {
    return this.faders.metronome ? amplitude(this.faders.click) * amplitude(this.faders.master) : 0;
  }

  #sendBeats() {
    const scaled = (times) => times.map((time) => time * this.sampleRate);
    this.#post({ set: { beats: scaled(this.beats.beats), downbeats: scaled(this.beats.downbeats) } });
  }

  #openOutput() {
    this.opening ??= (async () => {
      const { partSamples } = this.supply;
      const output = await openOutput(this.sampleRate, partSamples, (report) => this.#hear(report));
      if (this.closed) return output.context.close();
      this.output = output;
      const { position } = this.where;
      this.#post({ set: { gains: this.#gains(), click: this.#click(), total: this.#total() } });
      this.#jump({ position: Math.round(position), loop: this.loop, rate: this.rate });
      this.#sendBeats();
      for (const part of this.kept.values()) this.#take(part);
      this.kept.clear();
    })();
    this.opening.catch(() => (this.opening = null));
    return this.opening;
  }

  #total() {
    return this.supply.audio.complete ? this.samples : null;
  }

  #jump(change) {
    this.serial += 1;
    this.#post({ jump: { ...change, serial: this.serial } });
  }

  #post(message, transfer) {
    this.output?.post(message, transfer);
  }

  #hear(report) {
    if (report.failed) {
      this.#fail(new SourceError("output", report.failed));
      return;
    }
    if (report.serial !== this.serial) return;
    const stopped = this.wanted && this.where.playing && !report.playing;
    this.where = report;
    this.#emit("timeupdate");
    if (stopped && report.position >= this.samples && this.supply.audio.complete) {
      this.wanted = false;
      this.#emit("ended");
    }
    this.#aim();
    this.#say();
  }

  /** What leaves the loudspeakers now, in samples. */
  #position() {
    const { position, time, rate, since, moving } = this.where;
    if (!moving || !this.output) return position;
    const { context } = this.output;
    const latency = context.outputLatency || context.baseLatency || 0;
    const frames = (context.currentTime - latency - time) * this.sampleRate;
    const now = position + Math.max(frames, -since) * rate;
    const { loop } = this;
    if (!loop || position < loop.start || position >= loop.end) return Math.min(now, this.samples);
    const length = loop.end - loop.start;
    return now >= loop.end ? loop.start + ((now - loop.end) % length) : now;
  }

  #recover() {
    if (PASSING.includes(this.trouble?.kind)) this.trouble = null;
  }

  #fail(error) {
    if (error.name === "AbortError") return;
    this.trouble = error.kind ? error : new SourceError("failed", String(error));
    if (this.state === "error") this.pause();
    this.#say();
  }

  #say() {
    const saying = `${this.state} ${this.trouble?.kind}`;
    if (saying === this.said) return;
    this.said = saying;
    this.#emit("state");
  }

  #emit(type) {
    this.dispatchEvent(new Event(type));
  }
}
