// The click on the beats, placed by the position that is heard: it keeps to them at every speed.

const LENGTH_S = 0.04;
const BEAT_HZ = 1000;
const DOWNBEAT_HZ = 1500;

/** Clicks at beats. `level` 0 is off. */
export class Metronome {
  constructor(sampleRate) {
    this.level = 0;
    this.beats = [];
    this.voices = [];
    this.sampleRate = sampleRate;
    this.sounds = { beat: click(sampleRate, BEAT_HZ), downbeat: click(sampleRate, DOWNBEAT_HZ) };
  }

  /** @param {number[]} beats positions in samples, ascending @param {number[]} downbeats those that start a bar */
  setBeats(beats, downbeats) {
    const firsts = new Set(downbeats.map(Math.round));
    this.beats = beats.map((position) => ({
      position: Math.round(position),
      sound: firsts.has(Math.round(position)) ? this.sounds.downbeat : this.sounds.beat,
    }));
  }

  /**
   * Start the clicks of the beats that are passed.
   *
   * @param {number[][]} runs stretches [from, to] of positions, one after the other
   * @param {number} rate samples of position a frame
   * @param {number} frames all together
   */
  cross(runs, rate, frames) {
    let passed = 0;
    for (const [from, to] of this.level > 0 ? runs : []) {
      for (let i = this.#firstFrom(from); i < this.beats.length && this.beats[i].position < to; i++) {
        const frame = Math.round((passed + this.beats[i].position - from) / rate);
        this.voices.push({ sound: this.beats[i].sound, at: -Math.min(frame, frames - 1) });
      }
      passed += to - from;
    }
  }

  /** Add the clicks that sound. */
  addTo(left, right) {
    for (const voice of this.voices) {
      for (let i = Math.max(-voice.at, 0); i < left.length && voice.at + i < voice.sound.length; i++) {
        const value = voice.sound[voice.at + i] * this.level;
        left[i] += value;
        right[i] += value;
      }
      voice.at += left.length;
    }
    this.voices = this.voices.filter((voice) => voice.at < voice.sound.length);
  }

  #firstFrom(position) {
    let [low, high] = [0, this.beats.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.beats[middle].position < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function click(sampleRate, hz) {
  const sound = new Float32Array(Math.round(LENGTH_S * sampleRate));
  for (let i = 0; i < sound.length; i++) {
    const t = i / sampleRate;
    sound[i] = Math.sin(2 * Math.PI * hz * t) * Math.exp(-t / 0.008);
  }
  return sound;
}
