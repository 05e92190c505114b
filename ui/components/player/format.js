// Times and levels in words.

/** 83.4 -> "1:23"; with tenths "1:23.4". @param {number} seconds */
export function clock(seconds, tenths = false) {
  const all = tenths ? Math.floor(seconds * 10) / 10 : Math.floor(seconds);
  const hours = Math.floor(all / 3600);
  const minutes = Math.floor((all % 3600) / 60);
  const rest = (all % 60).toFixed(tenths ? 1 : 0).padStart(tenths ? 4 : 2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** 83 -> "1 minute 23 seconds". @param {number} seconds @param {object} texts */
export function spoken(seconds, texts) {
  const all = Math.round(seconds);
  const parts = [
    [Math.floor(all / 3600), texts.hour, texts.hours],
    [Math.floor((all % 3600) / 60), texts.minute, texts.minutes],
    [all % 60, texts.second, texts.seconds],
  ];
  const said = parts.filter(([count]) => count > 0).map(([count, one, many]) => `${count} ${count === 1 ? one : many}`);
  return said.join(" ") || `0 ${texts.seconds}`;
}

/** Amplitude 0.5 -> "-6.0 dB". @param {number} amplitude */
export function decibels(amplitude, texts) {
  if (amplitude === 0) return texts.silent;
  const level = 20 * Math.log10(amplitude);
  return `${level > 0.05 ? "+" : ""}${Math.abs(level) < 0.05 ? "0.0" : level.toFixed(1)} dB`;
}

/** -40 -> "L 40", 0 -> "Centre". @param {number} pan -100 to 100 */
export function side(pan, texts) {
  if (pan === 0) return texts.centre;
  return `${pan < 0 ? texts.left : texts.right} ${Math.abs(pan)}`;
}

/** "{a} of {b}" with its fields. */
export function fill(text, fields) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(fields[name]));
}
