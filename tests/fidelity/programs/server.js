// An HTTP server with a worker thread; ends when it is told to.
const http = require('http');
const fs = require('fs');
const crypto = require('crypto');
const { Worker } = require('worker_threads');

const server = http.createServer((request, response) => {
  if (request.url === '/file') {
    fs.readFile(__filename, (error, data) => response.end(`${error || data.length > 100}\n`));
  } else if (request.url === '/hash') {
    crypto.pbkdf2('x', 'y', 1000, 16, 'sha256', (error, key) => response.end(`${key.toString('hex')}\n`));
  } else if (request.url === '/worker') {
    const worker = new Worker('require("worker_threads").parentPort.postMessage(6 * 7)', { eval: true });
    worker.once('message', (value) => response.end(`${value}\n`));
  } else {
    response.end('hello\n');
  }
});
process.on('SIGTERM', () => {
  server.close(() => console.log('closed'));
  server.closeAllConnections?.();
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));
