"""An HTTP server before a mirror: whatever client connects to it calls both servers, and hears the first."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DROPPED = {"host", "connection", "content-length", "accept-encoding", "transfer-encoding", "authorization", "expect"}


class Proxy:
    def __init__(self, mirror):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else (b"" if self.command in ("POST", "PUT", "PATCH") else None)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in DROPPED}
                found = mirror.send(self.command, self.path, headers, body)
                self.send_response(found.status)
                for name in ("content-type", "content-disposition"):
                    if name in found.headers:
                        self.send_header(name, found.headers[name])
                self.send_header("Content-Length", str(len(found.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(found.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
