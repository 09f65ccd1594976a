// Numbers and durations as the page shows them.

export const number = (value, digits = 0) =>
  value.toLocaleString("en", { maximumFractionDigits: digits });
export const seconds = (value) =>
  value < 1 ? `${number(value * 1000)} ms` : `${number(value, 1)} s`;
export const count = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;
