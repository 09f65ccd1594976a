// The sampling fields: options for the model, and what an empty field stands for.

import { number } from "../format.js";

const MOST = 128; // new tokens where a person names no number

// Short enough to be told, and to be typed.
export const anySeed = () => crypto.getRandomValues(new Uint16Array(1))[0];

export function settings(section) {
  const fields = [...section.querySelectorAll(".settings input")];
  return {
    // An empty field leaves the model's own setting.
    options() {
      const options = { max_new_tokens: MOST };
      for (const field of fields) {
        if (field.name === "stop") {
          if (field.value) options.stop = [field.value.replaceAll("\\n", "\n")];
        } else if (field.value) options[field.name] = Number(field.value);
      }
      options.seed ??= anySeed(); // told with the answer, so that it can be had again
      return options;
    },
    fitTo({ defaults }) {
      for (const field of fields) {
        const own = { max_new_tokens: MOST, ...defaults }[field.name];
        if (own !== undefined) field.placeholder = number(own, 2);
      }
    },
    values: () => fields.map((field) => field.value),
    fill: (values) => fields.forEach((field, i) => (field.value = values[i] ?? "")),
  };
}
