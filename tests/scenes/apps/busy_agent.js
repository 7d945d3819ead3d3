// A keep-alive agent with an idle connection, in a program whose event loop computes for ever.
const http = require('http');
const agent = new http.Agent({ keepAlive: true });
http.get({ host: '127.0.0.1', port: Number(process.argv[2]), agent }, (response) => {
  response.resume();
  response.on('end', () => setImmediate(() => {
    require('fs').writeSync(1, 'computing\n');
    for (;;);
  }));
});
