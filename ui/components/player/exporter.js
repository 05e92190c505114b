// The mix at the present faders as a WAV file, made part by part: no more than one part of each track is in memory.

import { addRun, gainsOf } from "./gains.js";
import { decode } from "./supply.js";
import { SourceError } from "./source.js";

const BYTES = 3; // a sample of 24 bits
const CHANNELS = 2;
const HEADER = 44;
const LARGEST = 2 ** 32 - 1; // what the sizes in a WAV header can say

/**
 * Make the file.
 *
 * @param {import("./engine.js").Engine} engine of a finished job
 * @param {(done: number) => void} onprogress 0 to 1
 * @param {AbortSignal} signal
 * @returns {Promise<{file: Blob, clipped: number}>} clipped: samples that were too loud for the file
 */
export async function exportMix(engine, onprogress, signal) {
  const { source, supply, tracks, samples } = engine;
  const { partSamples } = supply;
  const rate = engine.sampleRate;
  const gains = gainsOf(tracks, engine.faders);
  const heard = tracks.filter(({ name }) => gains[name].some((value) => value !== 0));
  if (samples * BYTES * CHANNELS + HEADER > LARGEST) throw new SourceError("too_long");
  const chunks = [header(samples, rate)];
  let clipped = 0;
  for (let number = 0; number * partSamples < samples; number++) {
    onprogress((number * partSamples) / samples);
    const length = Math.min(partSamples, samples - number * partSamples);
    const [left, right] = [new Float32Array(length), new Float32Array(length)];
    const fetched = heard.map(({ name }) => source.insist(() => source.part(name, number, signal), signal, () => {}));
    const parts = await Promise.all(fetched.map(async (bytes) => decode(await bytes, rate)));
    signal.throwIfAborted();
    parts.forEach((channels, i) => {
      const gain = gains[heard[i].name];
      addRun(left, right, 0, channels, 0, length, gain, gain);
    });
    const packed = pack(left, right);
    clipped += packed.clipped;
    chunks.push(new Blob([packed.bytes])); // a browser keeps large blobs on disk
  }
  onprogress(1);
  return { file: new Blob(chunks, { type: "audio/wav" }), clipped };
}

/** Offer a file to be saved. */
export function save(file, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function header(samples, rate) {
  const view = new DataView(new ArrayBuffer(HEADER));
  const text = (at, letters) => [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  const size = samples * BYTES * CHANNELS;
  text(0, "RIFF");
  view.setUint32(4, HEADER - 8 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // integer samples
  view.setUint16(22, CHANNELS, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * BYTES * CHANNELS, true);
  view.setUint16(32, BYTES * CHANNELS, true);
  view.setUint16(34, BYTES * 8, true);
  text(36, "data");
  view.setUint32(40, size, true);
  return view.buffer;
}

function pack(left, right) {
  const bytes = new Uint8Array(left.length * BYTES * CHANNELS);
  const full = 2 ** 23;
  let clipped = 0;
  let at = 0;
  for (let i = 0; i < left.length; i++) {
    for (const value of [left[i], right[i]]) {
      const rounded = Math.round(value * full);
      const sample = Math.max(Math.min(rounded, full - 1), -full);
      if (sample !== rounded) clipped++;
      bytes[at++] = sample & 255;
      bytes[at++] = (sample >> 8) & 255;
      bytes[at++] = (sample >> 16) & 255;
    }
  }
  return { bytes, clipped };
}
