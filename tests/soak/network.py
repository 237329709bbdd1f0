"""The network between the parts: links that can be cut, and the balancer before the replicas.

Both move bytes and know nothing of what is in them; TLS goes through as it is.
"""

import asyncio
import ssl
import threading

CHUNK = 65536
# How often the balancer asks each replica whether it is ready, and how long it waits for the answer.
ASK_EACH, ANSWER_WITHIN = 0.25, 2.0


class Loop:
    """An event loop in a thread of its own, for as many links as are wanted."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def stop(self):
        self.run(self._cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)

    async def _cancel(self):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader, writer, may_pass):
    try:
        while chunk := await reader.read(CHUNK):
            await may_pass.wait()
            writer.write(chunk)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


class Link:
    """Listens on loopback before `target`.

    - `pass`: bytes go through
    - `closed`: nobody is there: connections end, and new ones end at once
    - `silent`: connections stay and nothing goes through, as if a cable were out; what was under way
      arrives when it is in again
    """

    def __init__(self, loop, target):
        self._loop, self._target = loop, target
        self._mode, self._open = "pass", set()
        self.address = loop.run(self._listen())

    async def _listen(self):
        self._passing = asyncio.Event()
        self._passing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[:2]

    def set(self, mode):
        self._loop.run(self._set(mode))

    async def _set(self, mode):
        self._mode = mode
        if mode == "closed":
            for writer in list(self._open):
                writer.transport.abort()
        if mode == "silent":
            self._passing.clear()
        else:
            self._passing.set()

    async def _serve(self, reader, writer):
        if self._mode == "closed":
            writer.transport.abort()
            return
        self._open.add(writer)
        onward = None
        try:
            await self._passing.wait()
            there, onward = await asyncio.open_connection(*self._target)
            self._open.add(onward)
            await asyncio.gather(_pump(reader, onward, self._passing), _pump(there, writer, self._passing))
        except OSError:
            pass
        finally:
            for each in (writer, onward):
                if each is not None:
                    self._open.discard(each)
                    each.close()


class Balancer:
    """One address for all replicas: new connections go to those that say that they are ready, in turn.

    A replica that stops saying so loses its connections, as a load balancer of Kubernetes or HAProxy does it.
    """

    def __init__(self, loop, replicas, authority):
        self._loop, self._replicas = loop, list(replicas)
        self._context = ssl.create_default_context(cafile=authority)
        self._ready, self._turn = set(), 0
        self._open = {replica: set() for replica in self._replicas}
        self.address = loop.run(self._listen())

    async def _listen(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._watches = [asyncio.ensure_future(self._watch(replica)) for replica in self._replicas]
        return self._server.sockets[0].getsockname()[:2]

    @property
    def ready(self):
        return set(self._ready)

    async def _watch(self, replica):
        while True:
            try:
                good = await asyncio.wait_for(self._ask(replica), ANSWER_WITHIN)
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                good = False
            if good:
                self._ready.add(replica)
            elif replica in self._ready:
                self._ready.discard(replica)
                for writer in list(self._open[replica]):
                    writer.transport.abort()
            await asyncio.sleep(ASK_EACH)

    async def _ask(self, replica):
        reader, writer = await asyncio.open_connection(*replica, ssl=self._context, server_hostname=replica[0])
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % replica[0].encode())
            await writer.drain()
            return b" 200 " in await reader.readline()
        finally:
            writer.transport.abort()

    def _candidates(self):
        """Those that are ready, in turn; without any, all: what they say then is an answer too."""
        self._turn += 1
        some = [replica for replica in self._replicas if replica in self._ready] or self._replicas
        start = self._turn % len(some)
        return some[start:] + some[:start]

    async def _serve(self, reader, writer):
        for replica in self._candidates():
            try:
                there, onward = await asyncio.wait_for(asyncio.open_connection(*replica), 1)
                break
            except (OSError, asyncio.TimeoutError):
                continue
        else:
            writer.transport.abort()
            return
        always = asyncio.Event()
        always.set()
        mine = {writer, onward}
        self._open[replica] |= mine
        try:
            await asyncio.gather(_pump(reader, onward, always), _pump(there, writer, always))
        finally:
            self._open[replica] -= mine
            for each in mine:
                each.close()
