// What the waveforms are drawn from: measured by the service for a finished job, else from the parts as they come.

const PER_PART = 500; // buckets of a part that is measured here
const MOST = 8000; // buckets of a whole waveform: what the service is asked for, too
/** A track is drawn as if it were at least this loud, relative to the loudest: a residual stays a thin line. */
const QUIETEST = 0.2;

/** The service is asked for so many buckets. */
export const BUCKETS = MOST;

/** Waveforms of all tracks. */
export class Peaks {
  constructor() {
    this.measured = new Map(); // track name -> Map(part number -> Float32Array of PER_PART)
    this.given = new Map(); // track name -> Float32Array over the whole mix
  }

  /** Take what the service measured. @param {object[]} list of api.schemas.Peaks */
  take(list) {
    for (const { name, data, bits } of list) {
      const full = 2 ** (bits - 1) - 1;
      const peaks = new Float32Array(data.length / 2);
      for (let i = 0; i < peaks.length; i++) {
        peaks[i] = Math.max(Math.abs(data[2 * i]), Math.abs(data[2 * i + 1])) / full;
      }
      this.given.set(name, peaks);
    }
    this.measured.clear();
  }

  /** Measure a part. Returns whether that changes the waveform. @param {Int16Array[]} channels @param {number} partSamples length of a whole part */
  measure(name, number, channels, partSamples) {
    if (this.given.has(name)) return false;
    if (!this.measured.has(name)) this.measured.set(name, new Map());
    const peaks = new Float32Array(PER_PART);
    const bucket = partSamples / PER_PART;
    for (let i = 0; i < PER_PART; i++) {
      let highest = 0;
      const end = Math.min(Math.floor((i + 1) * bucket), channels[0].length);
      for (let at = Math.floor(i * bucket); at < end; at++) {
        const value = Math.abs(channels[0][at]);
        if (value > highest) highest = value;
      }
      peaks[i] = highest / 32768;
    }
    this.measured.get(name).set(number, peaks);
    return true;
  }

  /**
   * The waveforms as they are drawn: all of one length, each scaled by how loud it gets.
   *
   * @param {string[]} names
   * @param {number} samples of the mix
   * @param {number} partSamples
   * @returns {Float32Array[]} 0 to 1
   */
  drawn(names, samples, partSamples) {
    const parts = samples / partSamples;
    const length = Math.max(Math.min(Math.ceil(parts * PER_PART), MOST), 1);
    const all = names.map((name) => this.#resampled(name, length, parts));
    const loudest = Math.max(...all.map(highest), 0.01);
    return all.map((peaks) => {
      const scale = 1 / Math.max(highest(peaks), QUIETEST * loudest);
      return peaks.map((value) => value * scale);
    });
  }

  #resampled(name, length, parts) {
    const result = new Float32Array(length);
    const given = this.given.get(name);
    if (given) spread(given, result, 0, length);
    const size = length / parts;
    for (const [number, peaks] of this.measured.get(name) ?? []) spread(peaks, result, number * size, size);
    return result;
  }
}

/** Write `from` over `size` buckets of `to`, each the highest of what falls into it. */
function spread(from, to, start, size) {
  for (let i = 0; i < from.length; i++) {
    const first = Math.floor(start + (i * size) / from.length);
    const last = Math.max(Math.ceil(start + ((i + 1) * size) / from.length), first + 1);
    for (let at = first; at < last && at < to.length; at++) to[at] = Math.max(to[at], from[i]);
  }
}

function highest(peaks) {
  let most = 0;
  for (const value of peaks) if (value > most) most = value;
  return most;
}
