// A server as Node's users write it: it knows no signal, and nothing of Plimsoll.

const http = require("node:http");

const server = http.createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname === "/hello") {
    response.end("hello");
  } else if (pathname === "/slow") {
    console.log("slow request began");
    setTimeout(() => response.end("slept"), 1000);
  } else {
    response.writeHead(404).end();
  }
});

server.listen(process.env.PORT, process.env.HOST);
