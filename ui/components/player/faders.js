// Where the faders stand. Kept for the tab, so that a reload changes nothing.

const REST = Object.freeze({ volume: 100, pan: 0, mute: false, solo: false });
const START = Object.freeze({ master: 100, rate: 1, metronome: false, click: 70, original: false });
const STORED = ["master", "rate", "metronome", "click"];

/** Emits `change`. Volumes are percent (see gains.js), pan is -100 (left) to 100 (right), rate 1 is normal speed. */
export class Faders extends EventTarget {
  /** @param {string} job its id */
  constructor(job) {
    super();
    this.place = `audio-pipeline.player.${job}`;
    this.tracks = Object.create(null); // by names that are not ours
    Object.assign(this, START);
    this.#restore();
  }

  /** The faders of one track. */
  of(name) {
    return this.tracks[name] ?? REST;
  }

  /** Move faders of one track. */
  move(name, change) {
    this.tracks[name] = { ...this.of(name), ...change };
    this.#changed();
  }

  /** Move what concerns all tracks: master, rate, metronome, click, original. */
  set(change) {
    Object.assign(this, change);
    this.#changed();
  }

  #changed() {
    const { tracks } = this;
    const common = Object.fromEntries(STORED.map((name) => [name, this[name]]));
    try {
      sessionStorage.setItem(this.place, JSON.stringify({ tracks, common }));
    } catch {
      // A full or forbidden store: the faders are where they are.
    }
    this.dispatchEvent(new Event("change"));
  }

  #restore() {
    try {
      const { tracks, common } = JSON.parse(sessionStorage.getItem(this.place)) ?? {};
      for (const [name, faders] of Object.entries(tracks ?? {})) this.tracks[name] = { ...REST, ...faders };
      for (const name of STORED) if (typeof common?.[name] === typeof START[name]) this[name] = common[name];
    } catch {
      // What is there is not ours: start at rest.
    }
  }
}
