// A server that is told of the end and never ends its own side: allowHalfOpen without end(). With a second port, it
// also has a connection there whose sending side it has shut down.
const net = require('net');
const kept = [];
const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  kept.push(socket);
  socket.resume();
});
if (process.argv[3]) {
  const other = net.connect({ port: Number(process.argv[3]), host: '127.0.0.1', allowHalfOpen: true });
  other.end('over', () => require('fs').writeSync(1, 'shut down\n'));
  kept.push(other);
}
server.listen(Number(process.argv[2]), '127.0.0.1');
