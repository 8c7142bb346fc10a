// The same application for Node.js, which ends its last requests before it ends itself.
const fs = require("fs");
const http = require("http");

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  request.resume();
  request.on("end", () => {
    response.setHeader("X-Version", process.env.VERSION);
    switch (url.pathname) {
      case "/work":
        fs.appendFileSync(process.env.NOTES, url.search.slice(1) + "\n");
        setTimeout(() => response.end("did " + url.search.slice(1)), 20);
        break;
      case "/about":
        response.end(JSON.stringify({
          pid: process.pid, parent: process.ppid, folder: process.cwd(), version: process.env.VERSION,
          environment: process.env,
        }));
        break;
      case "/fill": {
        // Removed, and still open: no listing of a folder shows it.
        const file = fs.openSync(process.env.TMPDIR + "/large", "w");
        fs.unlinkSync(process.env.TMPDIR + "/large");
        const mebibytes = Number(url.search.slice(1));
        for (let written = 0; written < mebibytes; written += 1) fs.writeSync(file, Buffer.alloc(1 << 20));
        response.end("wrote " + mebibytes);
        break;
      }
      case "/health":
        response.statusCode = Number(process.env.HEALTH || "200");
        response.end("health of " + process.env.VERSION);
        break;
      default:
        response.statusCode = 404;
        response.end("the application knows no " + url.pathname);
    }
  });
});
// When it began, listened, was to end, and ended, in milliseconds: what a swap takes at least.
const now = () => performance.timeOrigin + performance.now();
const note = (...words) => fs.appendFileSync(process.env.NOTES, words.join(" ") + "\n");
process.on("SIGTERM", () => {
  const told = now();
  server.close(() => {
    note("ends", process.env.VERSION, told, now());
    process.exit(0);
  });
});
const place = process.argv[2] ? Number(process.argv[2]) : { fd: 3 };
server.listen(place, () => note("begins", process.env.VERSION, performance.timeOrigin, now()));
