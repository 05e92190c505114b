// Numbers and problems in words.

/** Fill the places of a text. @param {string} text such as "{size} left" */
export function filled(text, values = {}) {
  return text.replace(/\{(\w+)\}/g, (place, name) => String(values[name] ?? place));
}

/** Bytes for people. */
export function size(bytes) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let power = 0;
  while (bytes >= 1000 && power < units.length - 1) [bytes, power] = [bytes / 1024, power + 1];
  return `${bytes >= 10 ? Math.round(bytes) : Math.round(bytes * 10) / 10} ${units[power]}`;
}

/** Seconds for people, rounded up as estimates are. @param {object} texts of the page */
export function time(seconds, texts) {
  const [minutes, hours] = [Math.ceil(seconds / 60), Math.ceil(seconds / 360) / 10];
  if (seconds <= 55) return filled(texts.seconds, { n: Math.max(5, Math.ceil(seconds / 5) * 5) });
  if (minutes === 1) return texts.one_minute;
  return minutes < 60 ? filled(texts.minutes, { n: minutes }) : filled(texts.hours, { n: hours });
}

/** What is wrong with a file. @param {{status, code, detail, hint}} problem @param {object} texts of the page */
export function wrong(problem, texts, largest) {
  if (texts.problems[problem.code]) return filled(texts.problems[problem.code], { largest: size(largest ?? 0) });
  if (problem.detail) return [problem.detail, problem.hint].filter(Boolean).join(" ");
  if (problem.status === 401 || problem.status === 403) return texts.not_allowed;
  return problem.status ? filled(texts.refused, { status: problem.status }) : texts.unreachable;
}
