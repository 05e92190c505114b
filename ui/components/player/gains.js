// From faders to gains, and from gains to sound: the same for what is heard and for what is exported.

const FULL_SCALE = 32768; // of 16-bit samples
/** The highest position of a volume fader, in percent; 100 leaves a track as it is. */
export const VOLUME_MAX = 125;

/** Amplitude of a fader position. @param {number} percent 0 to VOLUME_MAX */
export function amplitude(percent) {
  // A square feels even under the finger: half way down is -12 dB.
  return (percent / 100) ** 2;
}

/**
 * How much of each channel goes where: [left to left, left to right, right to left, right to right].
 *
 * Pan is that of the Web Audio specification's StereoPanner for stereo sound: the middle changes nothing, so that
 * stems at rest add up to the mix, and nothing is lost at the sides.
 *
 * @param {number} gain amplitude
 * @param {number} pan -1 (left) to 1 (right)
 */
export function matrix(gain, pan) {
  if (pan === 0) return [gain, 0, 0, gain];
  const angle = ((pan < 0 ? pan + 1 : pan) * Math.PI) / 2;
  const [cos, sin] = [Math.cos(angle) * gain, Math.sin(angle) * gain];
  return pan < 0 ? [gain, 0, cos, sin] : [cos, sin, 0, gain];
}

/**
 * The gains of all tracks.
 *
 * @param {{name: string, kind: string}[]} tracks
 * @param {object} faders see faders.js
 * @returns {Object<string, number[]>} by track name
 */
export function gainsOf(tracks, faders) {
  const anySolo = tracks.some((track) => track.kind !== "mix" && faders.of(track.name).solo);
  const master = amplitude(faders.master);
  const gains = Object.create(null); // by names that are not ours
  for (const track of tracks) {
    if (track.kind === "mix") {
      gains[track.name] = matrix(faders.original ? master : 0, 0);
      continue;
    }
    const { volume, pan, mute, solo } = faders.of(track.name);
    const heard = !faders.original && !mute && (solo || !anySolo);
    gains[track.name] = matrix(heard ? amplitude(volume) * master : 0, pan / 100);
  }
  return gains;
}

/**
 * Add a run of one track to left and right.
 *
 * @param {Float32Array} left
 * @param {Float32Array} right
 * @param {number} at where in left and right
 * @param {Int16Array[]} channels of the track; a single one goes to both sides
 * @param {number} from where in the channels
 * @param {number} count samples; what the channels do not have is silence
 * @param {number[]} before gains at the start of the run
 * @param {number[]} after gains at its end
 */
export function addRun(left, right, at, channels, from, count, before, after) {
  const [first, second = first] = channels;
  const there = Math.min(count, first.length - from);
  const [ll, lr, rl, rr] = before.map((value) => value / FULL_SCALE);
  if (before.every((value, i) => value === after[i])) {
    for (let i = 0; i < there; i++) {
      const [l, r] = [first[from + i], second[from + i]];
      left[at + i] += l * ll + r * rl;
      right[at + i] += l * lr + r * rr;
    }
    return;
  }
  const steps = after.map((value, i) => (value - before[i]) / FULL_SCALE / count);
  for (let i = 0; i < there; i++) {
    const [l, r] = [first[from + i], second[from + i]];
    left[at + i] += l * (ll + steps[0] * i) + r * (rl + steps[2] * i);
    right[at + i] += l * (lr + steps[1] * i) + r * (rr + steps[3] * i);
  }
}
