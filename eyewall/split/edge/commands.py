"""``eyewall edge run|status|answers``: the sensor side of a split model."""

import contextlib
import json
import logging
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from eyewall.contracts.errors import InputError, ServingError
from eyewall.split.edge.options import EdgeOptions

app = typer.Typer(
    help="The sensor side of a split model: frames in, features over the link, one answer a frame.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="print one line of JSON")]
_State = Annotated[str, typer.Option(help="state folder of the edge")]


def _help(field: str) -> str:
    info = EdgeOptions.model_fields[field]
    default = info.get_default(call_default_factory=True)
    shown = "  [required]" if info.is_required() else "" if default in (None, (), False) else f" [default: {default}]"
    return (info.description or "") + shown


def _text(field: str) -> Any:
    return typer.Option(help=_help(field), show_default=False)


@app.command("run")
def _run(
    frames: Annotated[str | None, _text("frames")] = None,
    state: Annotated[str | None, _text("state")] = None,
    server: Annotated[str | None, _text("server")] = None,
    head: Annotated[list[str] | None, _text("head")] = None,
    cloud: Annotated[str | None, _text("cloud")] = None,
    client: Annotated[str | None, _text("client")] = None,
    fallback: Annotated[str | None, _text("fallback")] = None,
    profile: Annotated[str | None, _text("profile")] = None,
    max_loss: Annotated[str | None, _text("max_loss")] = None,
    batch: Annotated[str | None, _text("batch")] = None,
    linger_s: Annotated[str | None, _text("linger_s")] = None,
    in_flight: Annotated[str | None, _text("in_flight")] = None,
    queue: Annotated[str | None, _text("queue")] = None,
    overlap: Annotated[bool | None, typer.Option("--overlap/--no-overlap", help=_help("overlap"))] = None,
    threads: Annotated[str | None, _text("threads")] = None,
    spool_mb: Annotated[str | None, _text("spool_mb")] = None,
    reserve_mb: Annotated[str | None, _text("reserve_mb")] = None,
    frame_mb: Annotated[str | None, _text("frame_mb")] = None,
    timeout_s: Annotated[str | None, _text("timeout_s")] = None,
    grace_s: Annotated[str | None, _text("grace_s")] = None,
    give_up_s: Annotated[str | None, _text("give_up_s")] = None,
    settle_s: Annotated[str | None, _text("settle_s")] = None,
    poll_s: Annotated[str | None, _text("poll_s")] = None,
    replan_s: Annotated[str | None, _text("replan_s")] = None,
    once: Annotated[bool | None, typer.Option("--once", help=_help("once"))] = None,
    remove: Annotated[bool | None, typer.Option("--remove", help=_help("remove"))] = None,
    port: Annotated[str | None, _text("port")] = None,
    metrics_host: Annotated[str | None, _text("metrics_host")] = None,
    ca: Annotated[str | None, _text("ca")] = None,
    token_file: Annotated[str | None, _text("token_file")] = None,
    live: Annotated[bool, typer.Option("--live", help="draw the live view on this terminal")] = False,
    as_json: Json = False,
) -> None:
    """Read frames, run the head, send features, keep the answers; ends on SIGTERM with what is left on disk."""
    given = {name: value for name, value in locals().items() if name not in ("live", "as_json")}
    options = EdgeOptions.parse(given)
    from eyewall.split.edge.runtime import Edge

    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s")
    logging.getLogger("eyewall.edge").setLevel(logging.WARNING if live else logging.INFO)
    edge = Edge(options)
    try:
        logging.getLogger("eyewall.edge").info(
            "edge: %s to %s by %s; metrics http://%s:%d/metrics",
            options.frames,
            options.server,
            ", ".join(edge.switch.names),
            options.metrics_host,
            edge.endpoint.port,
        )
        with _signals(edge.stop), _drawing(edge.status) if live else contextlib.nullcontext():
            summary = edge.run()
    finally:
        edge.close()
    _print(summary, as_json)


@app.command("status")
def _status(
    state: _State = "var/edge",
    watch: Annotated[bool, typer.Option("--watch", help="draw it until Ctrl-C")] = False,
    as_json: Json = False,
) -> None:
    """What the edge of a state folder is doing: link, plan, queues, spool, latency by part."""
    read = _reader(Path(state))
    if as_json:
        sys.stdout.write(json.dumps(read()) + "\n")
        return
    from rich.console import Console

    from eyewall.split.edge.live import view

    if not watch:
        before = read()
        time.sleep(0.5)
        Console().print(view(read(), before))
        return
    with _drawing(read):
        while True:
            time.sleep(3600)


@app.command("answers")
def _answers(
    state: _State = "var/edge",
    after: Annotated[int, typer.Option(help="only frames with a higher number")] = -1,
    limit: Annotated[int, typer.Option(min=1, help="rows at most")] = 1000,
) -> None:
    """Answers by frame, one line of JSON each, in the order in which frames were taken in."""
    from eyewall.split.edge.answers import Answers
    from eyewall.split.edge.runtime import ANSWERS_FILE

    path = Path(state) / ANSWERS_FILE
    if not path.is_file():
        raise InputError(f"no answers in {state!r}: give the --state of an edge that has run")
    answers = Answers(path)
    try:
        for row in answers.rows(after, limit):
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    finally:
        answers.close()


def _reader(state: Path) -> Callable[[], dict[str, Any]]:
    """A function that asks the running edge. Raises InputError without one, ServingError when it does not answer."""
    from eyewall.split.edge.runtime import ADDRESS_FILE

    try:
        address = json.loads((state / ADDRESS_FILE).read_text())
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address["host"], address["host"])  # noqa: S104 - not bound
        url = f"http://{host}:{int(address['port'])}/status"
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"no edge runs in {str(state)!r}: give its --state, or start one with eyewall edge run"
        ) from None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def read() -> dict[str, Any]:
        try:
            with opener.open(url, timeout=5) as response:
                return dict(json.load(response))
        except (OSError, ValueError) as error:
            raise ServingError(f"the edge at {url} does not answer: {error}; is its process still there?") from None

    return read


@contextlib.contextmanager
def _drawing(read: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """The live view on stderr while the block runs."""
    import threading

    from rich.console import Console
    from rich.live import Live

    from eyewall.split.edge.live import view

    stop, before = threading.Event(), read()
    with Live(view(before), console=Console(stderr=True), auto_refresh=False, redirect_stdout=False) as live:

        def draw() -> None:
            nonlocal before
            while not stop.wait(0.5):
                try:
                    now = read()
                except ServingError as error:
                    live.update(str(error), refresh=True)
                    continue
                live.update(view(now, before), refresh=True)
                before = now

        thread = threading.Thread(target=draw, name="live", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(2)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on SIGTERM and SIGINT while the block runs."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(summary: dict[str, Any], as_json: bool) -> None:
    from eyewall.cli import finish
    from eyewall.contracts.manifest import Receipt

    finish(Receipt(verb="edge", summary=summary), as_json)
