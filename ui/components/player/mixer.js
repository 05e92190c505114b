// Plays all tracks of a job from one read position: tracks cannot drift apart, because there is only one clock.
// It knows neither the network nor the page. The audio thread runs it (worklet.js).

import { addRun } from "./gains.js";
import { Metronome } from "./metronome.js";

/** Frames that are rendered at once; the length of Web Audio's render quantum. */
export const QUANTUM = 128;
/** Step of the fade around every jump, per quantum: two quanta (6 ms at 44.1 kHz) from silence to full. */
const FADE_STEP = 0.5;
/** How much of the way to a new gain is gone in one quantum: settled after some 20 ms. */
const GAIN_STEP = 0.35;
/** Samples before the end of a loop in which it turns into what comes before its start: 5 ms at 44.1 kHz. */
const EDGE = 220;

/**
 * The state of playback, and the audio that may be played soon.
 *
 * Positions are samples from the start of the mix. Audio comes in parts of equal length; a part holds, for each track,
 * one Int16Array a channel.
 */
export class Mixer {
  /**
   * @param {number} sampleRate in Hz
   * @param {number} partSamples samples of a part
   */
  constructor(sampleRate, partSamples) {
    this.sampleRate = sampleRate;
    this.partSamples = partSamples;
    this.parts = new Map(); // number -> Map(track name -> channels)
    this.gains = new Map(); // track name -> { now, target }: see gains.js
    this.position = 0; // what is heard next
    this.total = Infinity;
    this.rate = 1;
    this.loop = null;
    this.playing = false;
    this.starving = false;
    this.stretch = null; // set once its program is compiled
    this.metronome = new Metronome(sampleRate);
    this.fade = 0;
    this.pending = []; // changes that wait for silence
    this.scratch = [new Float32Array(EDGE), new Float32Array(EDGE)];
    this.read = 0; // what the stretcher is fed next
    this.since = 0; // frames since playback started here
    this.serial = 0; // of the last jump
  }

  /** Do what a message says: `set`, `jump`, `keep` or `retain`, with what the method of that name takes. */
  obey(message) {
    if (message.set) this.set(message.set);
    if (message.jump) this.jump(message.jump);
    if (message.keep) this.keep(message.keep.number, message.keep.name, message.keep.channels);
    if (message.retain) this.retain(message.retain);
  }

  /** Where playback is, as plain data. */
  report() {
    const { playing, starving, rate, since, serial } = this;
    const moving = playing && !starving && this.fade > 0;
    return { position: Math.min(this.position, this.total), playing, starving, rate, since, serial, moving };
  }

  /** Take what changes at once. @param {object} change fields: gains, total, beats, downbeats, click */
  set(change) {
    if (change.total !== undefined) this.total = change.total ?? Infinity;
    if (change.gains) {
      for (const name of [...this.gains.keys()]) if (!Object.hasOwn(change.gains, name)) this.gains.delete(name);
      for (const [name, target] of Object.entries(change.gains)) {
        const known = this.gains.get(name);
        // A first gain is taken at once: there is nothing to fade from.
        if (known) known.target = target;
        else this.gains.set(name, { now: target.slice(), target });
      }
    }
    if (change.beats) this.metronome.setBeats(change.beats, change.downbeats ?? []);
    if (change.click !== undefined) this.metronome.level = change.click;
  }

  /** Take what changes in silence only. @param {object} change fields: playing, position, rate, loop, serial */
  jump(change) {
    this.pending.push(change);
    if (this.fade === 0) this.#settle();
  }

  /** Keep one track of one part. */
  keep(number, name, channels) {
    if (!this.parts.has(number)) this.parts.set(number, new Map());
    this.parts.get(number).set(name, channels);
  }

  /** Forget all parts but these. @param {number[]} numbers */
  retain(numbers) {
    for (const number of [...this.parts.keys()]) if (!numbers.includes(number)) this.parts.delete(number);
  }

  /** Render the next quantum. @param {Float32Array} left @param {Float32Array} right both of QUANTUM frames */
  render(left, right) {
    left.fill(0);
    right.fill(0);
    if (this.fade === 0) this.#settle();
    const wanted = this.playing && !this.pending.length && this.#supplied();
    if (wanted && this.fade === 0 && this.rate !== 1) this.#prime();
    if (wanted || this.fade > 0) {
      const before = this.fade;
      this.fade = wanted ? Math.min(this.fade + FADE_STEP, 1) : Math.max(this.fade - FADE_STEP, 0);
      const heard = this.position;
      if (this.rate === 1) this.#mixInto(left, right);
      else this.#stretchInto(left, right);
      ramp(left, right, before, this.fade);
      this.since += left.length;
      this.metronome.cross(this.#runs(heard, left.length * this.rate), this.rate, left.length);
    }
    this.metronome.addTo(left, right);
    this.#step();
  }

  #settle() {
    for (const change of this.pending) {
      if (change.loop !== undefined) this.loop = change.loop;
      if (change.position !== undefined) this.position = change.position;
      if (change.rate !== undefined) this.rate = change.rate;
      if (change.playing !== undefined) this.playing = change.playing;
      this.serial = change.serial;
      this.position = Math.round(this.position); // the stretcher leaves it between two samples
      this.since = 0;
    }
    this.pending.length = 0;
  }

  /** Whether all that is heard until the fade could be over is here. Says so in `starving`. */
  #supplied() {
    if (this.position >= this.total) {
      this.playing = false;
      this.starving = false;
      this.position = this.total;
      return false;
    }
    this.starving = !(this.rate === 1 || this.stretch) || !this.#hasFrom(this.position, this.#ahead());
    return !this.starving;
  }

  /** Samples from the position on that are needed to go on, and to fade out after that. */
  #ahead() {
    return (this.rate === 1 ? 0 : this.stretch.ahead(this.rate)) + 8 * QUANTUM;
  }

  #hasFrom(position, count) {
    for (let left = count; left > 0 && position < this.total; ) {
      const number = Math.floor(position / this.partSamples);
      if (!this.#has(number)) return false;
      const inside = this.loop !== null && position < this.loop.end;
      const end = Math.min((number + 1) * this.partSamples, inside ? this.loop.end : Infinity);
      const run = Math.min(left, end - position);
      position = this.#advance(position, run);
      left -= run;
    }
    return true;
  }

  #has(number) {
    const part = this.parts.get(number);
    for (const [name, gain] of this.gains) {
      if (isHeard(gain) && !part?.has(name)) return false;
    }
    return true;
  }

  /** The position after so many samples. Only who comes to a loop's end from inside goes back to its start. */
  #advance(position, count) {
    const next = position + count;
    const { loop } = this;
    if (!loop || position >= loop.end || next < loop.end) return next;
    return loop.start + ((next - loop.end) % (loop.end - loop.start));
  }

  /** The stretches [from, to] that are passed from here on: two where a loop goes back to its start. */
  #runs(position, count) {
    const after = this.#advance(position, count);
    if (after >= position) return [[position, after]];
    return [
      [position, this.loop.end],
      [this.loop.start, after],
    ];
  }

  #mixInto(left, right) {
    this.position = this.#fill(left, right, this.position, left.length);
  }

  #stretchInto(left, right) {
    this.stretch.render(left, right, this.rate, (l, r, count) => {
      this.read = this.#fill(l, r, this.read, count);
    });
    this.position = this.#advance(this.position, left.length * this.rate);
  }

  /** Fill the stretcher so that the next sample that it gives is the one at `position`. */
  #prime() {
    this.position = this.read = Math.round(this.position);
    const history = this.stretch.history;
    this.stretch.prime(this.rate, {
      past: (l, r, after) => this.#fillPlain(l, r, this.position + after - history, history),
      next: (l, r, count) => {
        this.read = this.#fill(l, r, this.read, count);
      },
      skip: (count) => {
        this.read = this.#advance(this.read, count);
      },
    });
  }

  /** Add up the tracks from `position` on, round the loop. Returns the position after it. */
  #fill(left, right, position, count) {
    for (let at = 0; at < count; ) {
      const { loop } = this;
      const inside = loop !== null && position < loop.end;
      const run = Math.min(count - at, inside ? loop.end - position : Infinity);
      this.#fillPlain(left, right, position, run, at);
      if (inside) this.#edge(left, right, position, at, run);
      position = this.#advance(position, run);
      at += run;
    }
    return position;
  }

  #fillPlain(left, right, position, count, at = 0) {
    left.fill(0, at, at + count);
    right.fill(0, at, at + count);
    for (let done = 0; done < count; ) {
      const number = Math.floor((position + done) / this.partSamples);
      const from = position + done - number * this.partSamples;
      const run = Math.min(count - done, this.partSamples - from);
      const part = this.parts.get(number);
      for (const [name, gain] of part ? this.gains : []) {
        const channels = part.get(name);
        if (channels && isHeard(gain)) {
          addRun(left, right, at + done, channels, from, run, gain.now, this.#after(gain));
        }
      }
      done += run;
    }
  }

  /**
   * Turn from the end of the loop to its start before the jump: a cut in the middle of a wave clicks, and a fade after
   * the jump would swallow the first drum.
   */
  #edge(left, right, position, at, run) {
    const { loop, scratch } = this;
    const from = Math.max(position, loop.end - EDGE);
    const count = position + run - from;
    if (count <= 0) return;
    this.#fillPlain(scratch[0], scratch[1], loop.start - (loop.end - from), count);
    for (let i = 0; i < count; i++) {
      const rest = (loop.end - from - i) / EDGE;
      const to = at + from - position + i;
      left[to] = left[to] * rest + scratch[0][i] * (1 - rest);
      right[to] = right[to] * rest + scratch[1][i] * (1 - rest);
    }
  }

  #after({ now, target }) {
    return now.map((value, i) => approach(value, target[i]));
  }

  #step() {
    for (const gain of this.gains.values()) gain.now = this.#after(gain);
  }
}

function approach(now, target) {
  return Math.abs(target - now) < 1e-4 ? target : now + (target - now) * GAIN_STEP;
}

function isHeard({ now, target }) {
  return now.some((value) => value !== 0) || target.some((value) => value !== 0);
}

function ramp(left, right, from, to) {
  if (from === 1 && to === 1) return;
  for (let i = 0; i < left.length; i++) {
    const level = from + ((to - from) * (i + 1)) / left.length;
    left[i] *= level;
    right[i] *= level;
  }
}
