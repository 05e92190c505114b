// Changes the speed and keeps the pitch: Signalsmith Stretch, fed with the sum of all tracks.
//
// Its output lags behind what it was fed by `inputLatency` samples of input and `outputLatency` samples of output.
// `prime` fills it so far that the next sample that it gives is the one that was asked for.

const CHANNELS = 2;

/** A stretcher that is ready to run. */
export class Stretch {
  /**
   * Compile it. Also works on the audio thread.
   *
   * @param {() => Promise<object>} program the factory of the vendored module
   * @param {number} sampleRate in Hz
   */
  static async load(program, sampleRate) {
    const compiled = await program();
    compiled._main();
    compiled._presetDefault(CHANNELS, sampleRate);
    return new Stretch(compiled);
  }

  constructor(compiled) {
    this.compiled = compiled;
    this.inputLatency = compiled._inputLatency();
    this.outputLatency = compiled._outputLatency();
    /** Samples of the past that it wants to see before it starts. */
    this.history = this.inputLatency + this.outputLatency;
    this.pointer = compiled._setBuffers(CHANNELS, this.history);
    this.due = 0; // fraction of a sample of input that is owed
  }

  /** Samples of input that it is ahead of what is heard. */
  ahead(rate) {
    return this.inputLatency + Math.round(this.outputLatency * rate);
  }

  /**
   * Start anew at a position.
   *
   * @param {number} rate samples of input for a sample of output
   * @param {object} input past(left, right, after): fill `history` samples that end `after` the position;
   *     skip(count): go on without them; next(left, right, count): fill what follows
   */
  prime(rate, input) {
    this.due = 0;
    this.compiled._reset();
    const [left, right] = this.#views();
    input.past(left, right, this.inputLatency);
    this.compiled._seek(this.history, rate);
    input.skip(this.inputLatency);
    const count = Math.round(this.outputLatency * rate);
    input.next(left, right, count);
    this.compiled._process(count, this.outputLatency);
  }

  /**
   * Render.
   *
   * @param {Float32Array} left
   * @param {Float32Array} right
   * @param {number} rate samples of input for a sample of output
   * @param {(left: Float32Array, right: Float32Array, count: number) => void} feed fills the next input
   */
  render(left, right, rate, feed) {
    this.due += left.length * rate;
    const count = Math.floor(this.due);
    this.due -= count;
    const [inLeft, inRight] = this.#views();
    feed(inLeft, inRight, count);
    this.compiled._process(count, left.length);
    const [, , outLeft, outRight] = this.#views();
    left.set(outLeft.subarray(0, left.length));
    right.set(outRight.subarray(0, right.length));
  }

  /** Left and right of the input, then of the output. */
  #views() {
    const { buffer } = this.compiled.HEAP8; // another one once its memory has grown
    if (this.views?.[0].buffer !== buffer) {
      this.views = [0, 1, 2, 3].map(
        (i) => new Float32Array(buffer, this.pointer + i * this.history * 4, this.history),
      );
    }
    return this.views;
  }
}
