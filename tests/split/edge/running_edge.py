"""An edge in this process, in a thread of its own, whose end can be waited for."""

import threading
from pathlib import Path

import tiny_split

from eyewall.split.edge.options import EdgeOptions
from eyewall.split.edge.runtime import Edge


class RunningEdge:
    """An edge over ``folder``/frames and ``folder``/state, started at once."""

    def __init__(self, folder: Path, options: dict) -> None:
        self.state = folder / "state"
        values = {
            "frames": str(folder / "frames"), "state": str(self.state), "port": 0, "settle_s": 0, "poll_s": 0.05,
            "timeout_s": 5, "reserve_mb": 0, "replan_s": 0.1,
        } | options  # fmt: skip
        if not any(name in values for name in ("head", "cloud", "client")):
            values["head"] = [f"{tiny_split.parts() / 'tflite'}=tail"]
        if values["frames"] != "-":
            Path(values["frames"]).mkdir(exist_ok=True)
        self.edge = Edge(EdgeOptions.parse(values))
        self._result: dict = {}
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._result = self.edge.run()
        except BaseException as error:
            self._error = error

    def count(self, name: str, **labels: str) -> int:
        """A counter of its metrics."""
        return int(self.edge.metrics.value(name, **labels))

    def wait(self, seconds: float = 120.0) -> dict:
        """Its summary once it has ended by itself; raises what it raised."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the edge did not end"
        if self._error is not None:
            raise self._error
        return self._result

    def end(self, seconds: float = 60.0) -> dict:
        """As SIGTERM would end it."""
        self.edge.stop()
        return self.wait(seconds)

    def close(self) -> None:
        """End it if need be, and let go of its folder."""
        if self._thread.is_alive():
            self.edge.stop()
            self._thread.join(20)
        self.edge.close()
