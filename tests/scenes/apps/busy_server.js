// A server that computes for ever for the first request, and never comes back to accept another connection.
const http = require('http');
const server = http.createServer(() => {
  require('fs').writeSync(1, 'computing\n');
  for (;;);
});
server.listen(Number(process.argv[2]), '127.0.0.1');
