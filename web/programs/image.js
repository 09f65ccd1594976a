// A picture as an input: where its channels, rows and columns lie in a shape, and its elements.

const CHANNELS = [1, 3, 4];
const MEAN = [0.485, 0.456, 0.406]; // of ImageNet, as torchvision's models want them taken off
const DEVIATION = [0.229, 0.224, 0.225];

// How an element is made of a channel's 0 … 255.
const SCALES = {
  unit: (value) => value / 255,
  imagenet: (value, channel) => (value / 255 - MEAN[channel]) / DEVIATION[channel],
  signed: (value) => value / 127.5 - 1,
  bytes: (value) => value,
};
export const SCALE_NAMES = [
  ["unit", "0 … 1"],
  ["imagenet", "ImageNet mean and deviation"],
  ["signed", "−1 … 1"],
  ["bytes", "0 … 255"],
];

// {channels, height, width, last} of a shape that may be one picture's; last: channels come last.
export function pictureOf({ shape, dtype }) {
  if (!/^(float|uint8)/.test(dtype)) return null;
  const sizes = shape.length === 4 && shape[0] === 1 ? shape.slice(1) : shape;
  if (sizes.length !== 3) return null;
  const [first, middle, end] = sizes;
  if (CHANNELS.includes(first) && middle > 1 && end > 1)
    return { channels: first, height: middle, width: end, last: false };
  if (CHANNELS.includes(end) && first > 1 && middle > 1)
    return { channels: end, height: first, width: middle, last: true };
  return null;
}

// The picture's pixels at the shape's size, RGBA; rejects what is no picture.
export async function resized(file, { width, height }) {
  const bitmap = await createImageBitmap(file, {
    resizeWidth: width,
    resizeHeight: height,
    resizeQuality: "high",
  });
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

const grey = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b; // ITU-R BT.601

// The elements in the shape's order: {stored, bytes}.
export function elements({ data }, { channels, height, width, last }, dtype, scale) {
  const stored = dtype === "uint8" ? "uint8" : "float32";
  const made = new (stored === "uint8" ? Uint8Array : Float32Array)(channels * height * width);
  const of = stored === "uint8" ? SCALES.bytes : SCALES[scale];
  const count = height * width;
  for (let i = 0; i < count; i += 1) {
    const pixel = data.subarray(4 * i, 4 * i + 4);
    for (let c = 0; c < channels; c += 1) {
      const value = channels === 1 ? grey(pixel) : pixel[c];
      made[last ? i * channels + c : c * count + i] = c < 3 ? of(value, c) : SCALES.unit(value);
    }
  }
  return { stored, bytes: new Uint8Array(made.buffer) };
}
