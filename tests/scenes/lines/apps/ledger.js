// Leaks one connection a way: `ledger.js WAY PORT`. Node connects from its event loop, so
// that no function of these is on the stack then.
const net = require('node:net');
const http = require('node:http');

const [way, port] = [process.argv[2], Number(process.argv[3])];
const address = { host: '127.0.0.1', port };
const kept = [];

function openLedger() {
  kept.push(net.connect({ ...address, allowHalfOpen: true }));
}

function busyFor(milliseconds) {
  const end = Date.now() + milliseconds;
  while (Date.now() < end);
}

const ways = {
  connect: openLedger,
  promise: async () => {
    await null;
    openLedger();
  },
  timer: () => setTimeout(openLedger, 10),
  hot: () => {
    for (let i = 0; i < 300; i++) openLedger();
    kept.slice(1).forEach((socket) => socket.destroy());
  },
  // libuv accepts: no JavaScript is on that stack.
  server: () => net.createServer({ allowHalfOpen: true }, (socket) => kept.push(socket.pause())).listen(address),
  'http-server': () => http.createServer(() => busyFor(600000)).listen(address),
  // The loop never comes back to see the end.
  agent: () =>
    http.get({ ...address, agent: new http.Agent({ keepAlive: true }) }, () => busyFor(600000)),
};
ways[way]();
setInterval(() => {}, 60000);
