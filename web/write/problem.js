// Says in its place what cannot be done, as a sentence; nothing takes it away again.

export const teller = (place) => (text) => {
  place.textContent = text && text[0].toUpperCase() + text.slice(1);
  place.hidden = !text;
};
