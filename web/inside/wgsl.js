// WGSL as lines of spans, lightly coloured: comments, attributes, keywords, types, numbers, knobs.

import { made } from "../dom.js";

const KEYWORDS =
  "alias|break|case|const|const_assert|continue|continuing|default|discard|else|enable|fn|for|if|let|loop|" +
  "override|requires|return|struct|switch|var|while|true|false";
const TYPES = "array|atomic|bool|f16|f32|i32|u32|mat[234]x[234][fh]?|vec[234][fhiu]?|ptr|subgroup_matrix_\\w+";
const PARTS = new RegExp(
  [
    "(?<comment>//.*)",
    "(?<attribute>@\\w+)",
    `(?<keyword>\\b(?:${KEYWORDS})\\b)`,
    `(?<type>\\b(?:${TYPES})\\b)`,
    "(?<number>\\b(?:0x[\\da-f]+|\\d+(?:\\.\\d*)?(?:e[+-]?\\d+)?)[iufh]?\\b)",
  ].join("|"),
  "gi",
);

function line(text) {
  const node = made("span", /\/\/ knob/.test(text) ? "line knob" : "line");
  let at = 0;
  for (const { index, 0: found, groups } of text.matchAll(PARTS)) {
    const [kind] = Object.entries(groups).find(([, value]) => value);
    node.append(text.slice(at, index), made("span", kind, found));
    at = index + found.length;
  }
  node.append(`${text.slice(at)}\n`);
  return node;
}

export const lines = (source) => source.replace(/\n$/, "").split("\n").map(line);
