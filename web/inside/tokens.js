// Tokens as a page shows them: white space that is part of one is seen.

const SEEN = { " ": "·", "\n": "↵", "\t": "→", "\r": "␍" };

export const seen = (token) => token.replace(/[ \n\t\r]/g, (c) => SEEN[c]);
export const quoted = (token) => `“${seen(token)}”`;
