// The page of `tensortab run`: passes frames between the websocket and the worker, both ways, as they are.
//
// The socket lives here and not in the worker: a worker busy in Python can still post messages, and this
// thread, always idle, sends them on, so that output streams. When the page dies the socket closes, which
// is how the other side learns of it, in every browser alike.

const socket = new WebSocket(new URL(`bridge${location.search}`, location.href.replace(/^http/, "ws")));
socket.binaryType = "arraybuffer";
socket.onopen = () => {
  const worker = new Worker(new URL("run_worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => socket.send(data);
  socket.onmessage = ({ data }) => worker.postMessage(data, [data]);
  worker.onerror = (event) => socket.close(4000, `worker: ${event.message}`.slice(0, 120));
};
