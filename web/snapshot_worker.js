// Makes the snapshot of Python that snapshot.js keeps, and says when it is done, or could not be.

import { make } from "./snapshot.js";

onmessage = ({ data }) => make(data).then(() => postMessage("kept"), () => postMessage("none"));
