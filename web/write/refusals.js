// Why a model was not opened, for a person: a sentence that says what to do, by what the error says.

const host = ({ url }) => new URL(url).host;

const REFUSALS = [
  [/answered 401/, ({ name }) => `“${name}” is gated or private, or there is none of that name. Of a gated model, download the files yourself and open their folder.`],
  [
    /config\.json.*answered (403|404|410)/,
    (place) => `There is no config.json at ${place.url}. Check the name: a checkpoint’s folder has one.`,
  ],
  [
    /Content-Security-Policy/,
    (place) => `This page fetches models from its own server and one hub only, and ${host(place)} is neither. Start it with “tensortab serve --hub ${new URL(place.url).origin}”, or download the files and open their folder.`,
  ],
  [
    /Access-Control-Allow-Origin/,
    (place) => `${host(place)} does not let other sites’ pages read its files. Download them, and open their folder.`,
  ],
  [/machine is offline/, () => "This machine is offline. Models that are kept here open without a network."],
  [/no server answers/, (place) => `${host(place)} does not answer. Check the address, and the network.`],
  [
    /architecture '?(\w+)'?; there are (.*)/,
    (_, [, name, known]) => `Models of the architecture ${name} cannot be run here, only these: ${known}.`,
  ],
  [/quantization_config is/, () => "Its weights are quantized in a way that cannot be read here. Take the checkpoint in float16 or bfloat16: it is quantized as it is read."],
  [
    /this takes .* on the device|out of memory/,
    () => "It is too big for this device. Take a smaller model.",
  ],
];

const DAMAGED = "What was kept of this model cannot be read. Remove it, and open it anew.";

// {text, details}; the details are what Python said, where that is not the text.
export function explain({ refused: said, wasKept }, place) {
  const [pattern, sentence] = REFUSALS.find(([known]) => known.test(said)) ?? [];
  return sentence ? { text: sentence(place, said.match(pattern)), details: said } : wasKept ? { text: DAMAGED, details: said } : { text: said };
}
