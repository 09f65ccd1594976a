// WGSL with a little colour: a span for each comment, keyword, type, number and attribute, a line
// each; the lines with knobs stand out. All of it is text.

import { holding, made } from "../dom.js";

const TOKENS =
  /(?<comment>\/\/.*|\/\*.*?\*\/)|(?<attribute>@\w+)|(?<keyword>\b(?:alias|break|case|const|const_assert|continue|continuing|default|diagnostic|discard|else|enable|fn|for|if|let|loop|override|requires|return|struct|switch|var|while|true|false)\b)|(?<type>\b(?:array|atomic|bool|f16|f32|i32|u32|mat\dx\d[fh]?|ptr|vec\d[fhiu]?|storage|uniform|workgroup|function|private|read|read_write)\b)|(?<number>\b(?:0x[\da-fA-F]+|\d[\d.]*(?:e[+-]?\d+)?)[fhiu]?\b)/g;

function line(text) {
  const node = made("span", / \/\/ knob/.test(text) ? "line knob" : "line");
  let at = 0;
  for (const match of text.matchAll(TOKENS)) {
    const [kind] = Object.entries(match.groups).find(([, found]) => found !== undefined);
    node.append(text.slice(at, match.index), made("span", kind, match[0]));
    at = match.index + match[0].length;
  }
  node.append(text.slice(at), "\n");
  return node;
}

export function wgslNode(source, label) {
  const code = holding("pre", "wgsl code", ...source.trimEnd().split("\n").map(line));
  code.tabIndex = 0;
  code.role = "region";
  code.ariaLabel = label;
  return code;
}
