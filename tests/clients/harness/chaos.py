"""A TCP proxy that stands for a bad network or a bad server: passes, cuts, stalls, talks rubbish."""

import socket
import threading
from urllib.parse import urlsplit


class Chaos:
    """Listens on loopback before `upstream`. `mode` holds for connections and bytes from then on.

    - `pass`: bytes go through
    - `closed`: a connection ends before anything is read
    - `cut`: the answer breaks off after `cut_after` bytes
    - `stall`: the request is taken and nothing is answered
    - `rubbish`: the answer is not HTTP
    - `lie`: well-formed HTTP, 200, and a body that is not what the operation answers
    """

    def __init__(self, upstream):
        address = urlsplit(upstream)
        self._target = (address.hostname, address.port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.mode = "pass"
        self.cut_after = 0
        self._open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode, cut_after=0):
        """Also ends the connections that are open, so that a kept one does not outlive its mode."""
        self.mode, self.cut_after = mode, cut_after
        for connection in list(self._open):
            self._close(connection)

    def stop(self):
        self._listener.close()
        self.set("pass")

    def _close(self, connection):
        self._open.discard(connection)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        connection.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        mode = self.mode
        try:
            if mode in ("pass", "cut"):
                self._relay(client)
                return
            if mode == "closed":
                return
            client.recv(65536)
            if mode == "stall":
                while client.recv(65536):
                    pass
            elif mode == "rubbish":
                client.sendall(b"\x00\xff this is not HTTP \r\n\r\n" * 20)
            elif mode == "lie":
                body = b"<html>it works</html>"
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except OSError:
            pass
        finally:
            self._close(client)

    def _relay(self, client):
        server = socket.create_connection(self._target)
        self._open.add(server)
        threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
        try:
            self._pump(server, client, self.cut_after if self.mode == "cut" else None)
        finally:
            self._close(server)

    def _pump(self, source, sink, limit):
        try:
            while chunk := source.recv(65536):
                if limit is not None:
                    chunk, limit = chunk[:limit], limit - len(chunk[:limit])
                sink.sendall(chunk)
                if limit == 0:
                    break
        except OSError:
            pass
        finally:
            self._close(sink)
