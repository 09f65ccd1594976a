// Numbers, durations and sizes as the page shows them.

export const number = (value, digits = 0) =>
  value.toLocaleString("en", { maximumFractionDigits: digits });
export const seconds = (value) =>
  value < 1 ? `${number(value * 1000)} ms` : `${number(value, 1)} s`;
export const count = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

const UNITS = [
  [1e9, "GB", 2],
  [1e6, "MB", 1],
  [1e3, "kB", 0],
];

export function size(bytes) {
  const [unit, name, digits] = UNITS.find(([least]) => bytes >= least) ?? [1, "bytes", 0];
  return `${number(bytes / unit, digits)} ${name}`;
}
