"""Two upstreams for the hello example: v1 on port 18081, v2 on port 18082. They stop after ten minutes."""

import http.server
import threading


class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"Hello World, This is version {self.server.version}!\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing: the proxy is what is to be watched."""


for version, port in ((1, 18081), (2, 18082)):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Hello)
    server.version = version
    threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Event().wait(600)
