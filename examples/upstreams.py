"""The services of the stories in this folder, as small as they can be.

    python3 examples/upstreams.py STORY [--mesh HOST:PORT] [--faster N] [--seconds N]

Each answers on the loopback port that the story's ServiceEntries name, and writes one line for each request to standard
output: its log. `/ready` is answered by all of them, and logged by none. A service that calls another one sends the call
to `--mesh`, where the proxy listens. `--faster 100` makes every pause of a service a hundredth of what the story says.
They stop after ten minutes, or `--seconds`.
"""

import argparse
import http.client
import http.server
import json
import random
import sys
import threading
import time

# What a well-behaved application copies from the request it answers to the calls it makes, because only it knows which
# call belongs to which request.
CONTEXT = (
    "x-request-id", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
    "x-ot-span-context", "traceparent", "tracestate", "b3", "baggage", "x-team",
)


def text(body, status=200, seconds=0):
    """Answers `body`, after a pause."""
    def answer(request):
        time.sleep(seconds / OPTIONS.faster)
        return status, body
    return answer


def empty_reply(_):
    """Closes the connection without a word."""
    return None


def headers(request):
    """Answers the headers that came, as the original httpbin does."""
    seen = {name.lower(): value for name, value in request.headers.items()}
    return 200, json.dumps({"headers": seen}, indent=2, sort_keys=True)


def call(host, path, context=CONTEXT):
    """Asks another service, through the mesh, and hands its answer on."""
    def answer(request):
        return through_the_mesh(request, host, path, request.body, context)
    return answer


def page(host, path, most):
    """Asks another service up to `most` times, one call after the other; fails if one of them fails."""
    def answer(request):
        calls = random.randint(0, most)
        for done in range(calls):
            status, _ = through_the_mesh(request, host, path)
            if status >= 500:
                return 500, f"call {done + 1} of {calls} was answered {status}"
        return 200, f"{calls} calls, all answered"
    return answer


def through_the_mesh(request, host, path, body=b"", names=CONTEXT):
    """Status and text of one call, made on behalf of `request`."""
    context = {name: request.headers[name] for name in names if name in request.headers}
    connection = http.client.HTTPConnection(OPTIONS.mesh, timeout=60)
    try:
        connection.request(request.command, path, body or None, {"host": host, **context})
        answer = connection.getresponse()
        return answer.status, answer.read().decode().rstrip("\n")
    except OSError as error:
        return 503, f"{host}: {error}"
    finally:
        connection.close()


RIGHT = text('{"sentence": "I love yogobella", "polarity": 0.5}')
HISTORY = "purchase-history.istioinaction"
REWRITE = "rewrite-app-with-istio"


def frontend(stylesheet):
    """A page and the one file that belongs to it; the files of another release it does not have."""
    return {
        "/": [text(f'<link href="/static/css/{stylesheet}" rel="stylesheet">')],
        f"/static/css/{stylesheet}": [text("body { color: #333 }")],
    }


# By story and port: the service, and for each path what it may answer (`*`: every other path). One is drawn for each
# request, all with the same chance. A path that is not here is answered 404.
STORIES = {
    "hello": {
        18081: ("myapp v1", {"*": [text("Hello World, This is version 1!")]}),
        18082: ("myapp v2", {"*": [text("Hello World, This is version 2!")]}),
    },
    "sentiment": {
        18091: ("sa-frontend blue", frontend("main.c7071b22.css")),
        18096: ("sa-frontend green", frontend("main.f87cd8c9.css")),
        18092: ("sa-web-app", {"/sentiment": [call("sa-logic", "/analyse/sentiment")]}),
        18093: ("sa-feedback", {"/feedback": [text("thank you")]}),
        18094: ("sa-logic v1", {"*": [RIGHT]}),
        18095: ("sa-logic v2", {"*": [text("", 500, seconds=30), text("", 500), RIGHT]}),
    },
    "purchase-history": {
        18101: ("web-api", {"/": [call("recommendation.istioinaction", "/")]}),
        18102: ("recommendation", {"/": [call(HISTORY, "/")]}),
        18103: ("purchase-history v1", {
            "/": [text("Hello From Purchase History (v1)!")],
            "/report": [text("a long report", seconds=3)],
        }),
        18104: ("purchase-history v2", {"*": [text("Hello From Purchase History (v2)!")]}),
        18105: ("purchase-history v2, starting", {"*": [empty_reply]}),
        18106: ("payments, outside", {"*": [text("paid")]}),
    },
    "httpbin": {
        18111: ("httpbin v1", {"*": [headers]}),
        18112: ("httpbin v2", {"*": [headers]}),
        18113: ("front, which forgets", {"/": [call("httpbin", "/headers", context=("x-request-id",))]}),
    },
    "refactor": {
        18121: ("blue", {
            "/": [page(REWRITE, "/random/number", most=50)],
            "/random/number": [text("4"), text("4", seconds=1)],
            "/healthz": [text("ok")],
        }),
        18122: ("green, first release", {"/random/number": [text("", 500)], "/healthz": [text("ok")]}),
        18123: ("green, repaired", {"/random/number": [text("4")], "/healthz": [text("ok")]}),
    },
}


class Upstream(http.server.ThreadingHTTPServer):
    """One service on one port."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """Say nothing when the caller has gone away: it may, after its timeout."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Request(http.server.BaseHTTPRequestHandler):
    """One request to it."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        name, paths = self.server.service
        path = self.path.partition("?")[0]
        if path == "/ready":
            self.send_answer(200, "LIVE")
            return
        self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        answers = paths.get(path) or paths.get("*") or [text("no such file", 404)]
        reply = random.choice(answers)(self)
        # In one piece, since other threads write too.
        sys.stdout.write(f"{name}: {self.command} {self.path} -> {reply[0] if reply else 'closed'}\n")
        sys.stdout.flush()
        if reply is None:
            self.close_connection = True
            return
        self.send_answer(*reply)

    do_GET = do_POST = answer

    def send_answer(self, status, body):
        body = body.encode() + b"\n" if body else b""
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """The line that `answer` prints is enough."""


def main():
    for port, service in STORIES[OPTIONS.story].items():
        server = Upstream(("127.0.0.1", port), Request)
        server.service = service
        threading.Thread(target=server.serve_forever, daemon=True).start()
    time.sleep(OPTIONS.seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The services of a story.")
    parser.add_argument("story", choices=sorted(STORIES))
    parser.add_argument("--mesh", default="127.0.0.1:8080", help="where calls from one service to another go")
    parser.add_argument("--faster", type=float, default=1, help="divide every pause by this")
    parser.add_argument("--seconds", type=float, default=600, help="stop after this time")
    OPTIONS = parser.parse_args()
    main()
