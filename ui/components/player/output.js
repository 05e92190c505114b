// Where the mixer runs and how its sound gets out.

import { Mixer, QUANTUM } from "./mixer.js";
import { Stretch } from "./stretch.js";
import stretchProgram from "./signalsmith-stretch.js";

const WORKLET = new URL("./worklet.js", import.meta.url);
const SCRIPT_FRAMES = 2048;

/**
 * Open the way to the loudspeakers. Call it when the user has done something: browsers ask for that.
 *
 * @param {number} sampleRate in Hz: that of the parts, so that nothing is resampled before the mix
 * @param {number} partSamples samples of a part
 * @param {(report: object) => void} onReport see Mixer.report; `time` is that of the position, on the context's clock
 * @returns {Promise<{context: AudioContext, post: (message: object, transfer?: Transferable[]) => void}>}
 */
export async function openOutput(sampleRate, partSamples, onReport) {
  const context = new AudioContext({ sampleRate, latencyHint: "interactive" });
  // Browsers hide the audio thread from pages that did not come over HTTPS or from this machine.
  const open = context.audioWorklet ? openWorklet : openScript;
  const post = await open(context, partSamples, onReport);
  return { context, post };
}

async function openWorklet(context, partSamples, onReport) {
  await context.audioWorklet.addModule(WORKLET);
  const node = new AudioWorkletNode(context, "audio-pipeline-mixer", {
    numberOfInputs: 0,
    outputChannelCount: [2],
    processorOptions: { partSamples },
  });
  node.port.onmessage = ({ data }) => onReport(data);
  node.connect(context.destination);
  return (message, transfer = []) => node.port.postMessage(message, transfer);
}

async function openScript(context, partSamples, onReport) {
  const mixer = new Mixer(context.sampleRate, partSamples);
  mixer.stretch = await Stretch.load(stretchProgram, context.sampleRate);
  const node = context.createScriptProcessor(SCRIPT_FRAMES, 0, 2);
  node.onaudioprocess = ({ outputBuffer, playbackTime }) => {
    const [left, right] = [outputBuffer.getChannelData(0), outputBuffer.getChannelData(1)];
    for (let at = 0; at < left.length; at += QUANTUM) {
      mixer.render(left.subarray(at, at + QUANTUM), right.subarray(at, at + QUANTUM));
    }
    onReport({ ...mixer.report(), time: playbackTime + left.length / context.sampleRate });
  };
  node.connect(context.destination);
  return (message) => mixer.obey(message);
}
