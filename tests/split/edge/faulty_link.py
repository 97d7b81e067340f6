"""A TCP proxy that can be frozen, cut and slowed: the faults of a link, made for real between two processes."""

import socket
import threading
import time
from contextlib import suppress


class Proxy:
    """Listens on a port of its own and passes everything on to ``target``; use it in a with block."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.bytes_per_s = float("inf")
        self.passed = 0  #: bytes towards the target
        self._listener: socket.socket | None = None
        self._flow = threading.Event()
        self._flow.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.port = 0
        self.mend()

    @property
    def address(self) -> str:
        """host:port of this side."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thaw()
        self.cut()

    def freeze(self) -> None:
        """Nothing passes any more, and nobody is told: a link in the shadow of a mountain."""
        self._flow.clear()

    def thaw(self) -> None:
        """What was held back passes."""
        self._flow.set()

    def cut(self) -> None:
        """Every connection is reset, and new ones are refused."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def mend(self) -> None:
        """Connections are taken again, on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                far.settimeout(None)
            except OSError:
                if self._listener is not listener:
                    return
                with suppress(OSError, UnboundLocalError):
                    near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=[source, sink, source is near], daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                self._flow.wait()
                if up:
                    self.passed += len(data)
                    time.sleep(len(data) / self.bytes_per_s)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
