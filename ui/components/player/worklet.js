// The mixer on the audio thread. Messages in are those of Mixer.obey; messages out are its reports.

import { Mixer, QUANTUM } from "./mixer.js";
import { Stretch } from "./stretch.js";
import stretchProgram from "./signalsmith-stretch.js";

const REPORT_FRAMES = 16 * QUANTUM; // about 21 times a second at 44.1 kHz

class MixerProcessor extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.mixer = new Mixer(sampleRate, processorOptions.partSamples);
    this.port.onmessage = ({ data }) => this.mixer.obey(data);
    this.toReport = 0;
    this.said = "";
    Stretch.load(stretchProgram, sampleRate).then(
      (stretch) => (this.mixer.stretch = stretch),
      (error) => this.port.postMessage({ failed: String(error) }),
    );
  }

  process(_inputs, [[left, right]]) {
    this.mixer.render(left, right);
    this.toReport -= left.length;
    const report = this.mixer.report();
    const saying = `${report.playing} ${report.moving} ${report.starving} ${report.serial}`;
    if (this.toReport <= 0 || saying !== this.said) {
      this.toReport = REPORT_FRAMES;
      this.said = saying;
      // The time of the frame that comes next: the one at the position that is reported.
      this.port.postMessage({ ...report, time: currentTime + left.length / sampleRate });
    }
    return true;
  }
}

registerProcessor("audio-pipeline-mixer", MixerProcessor);
