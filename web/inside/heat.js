// Attention weights as a picture: row s, column t, the darker the more token s looks at token t.

const [RED, GREEN, BLUE] = [79, 127, 232]; // of this page's pictures: seen on light and on dark

// weights: float32 [size, size] in one row; a pixel each
export function draw(canvas, weights, size) {
  canvas.width = canvas.height = size;
  const pixels = new ImageData(size, size);
  for (let i = 0; i < size * size; i += 1)
    // The root: most weights are small, and are to be seen all the same.
    pixels.data.set([RED, GREEN, BLUE, 255 * Math.sqrt(weights[i])], 4 * i);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// Which [row, column] a pointer is at.
export function placeOf(event, size) {
  const { left, top, width, height } = event.target.getBoundingClientRect();
  const at = (offset, length) => Math.min(size - 1, Math.max(0, Math.floor((offset / length) * size)));
  return [at(event.clientY - top, height), at(event.clientX - left, width)];
}
