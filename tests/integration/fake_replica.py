"""A replica that trains nothing: what a test of a gang's mechanics needs, at a hundredth of TensorFlow's cost.

Its source is run by ``python -c`` in the project's image, with the command line of the real step. Workers and servers
answer "pong" on their address; in each step the chief asks all of them and waits for ever, like a collective. The
number of steps done is its checkpoint. FAKE_STEP_S is the length of a step, FAKE_DO what goes wrong, where and when,
once in a run: ``worker-0 exit 65 at 3`` or ``worker-0 oom at 3``.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from eyewall.training.heartbeat import Heartbeat

arguments = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[2:] if "=" in word)
config = json.loads(os.environ["TF_CONFIG"])
me = f"{config['task']['type']}-{config['task']['index']}"
peers = [address for role in ("worker", "ps") for address in config["cluster"].get(role, ())]
checkpoint = Path(arguments["store"]) / f"{arguments['run']}.steps"
lives = Path(arguments["store"]) / f"{arguments['run']}.lives"
once = Path(arguments["store"]) / f"{arguments['run']}.once"
beat = Heartbeat().start()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def do(step):
    who, _, rest = os.environ.get("FAKE_DO", "").partition(" ")
    what, _, when = rest.partition(" at ")
    if who != me or step < int(when or 0) or once.exists():
        return
    once.touch()
    if what == "oom":
        list(iter(lambda: bytearray(os.urandom(1 << 20)), None))
    sys.stderr.write(f"eyewall: {me} does what it was told: {what}\n")
    Path(os.environ["EYEWALL_TERMINATION_LOG"]).write_text(f"{me} does what it was told: {what}")
    os._exit(int(what.removeprefix("exit ")))


def serve():
    beat.serve()
    server = socket.create_server(("", 2222))
    while True:
        connection, _ = server.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection):
    for line in connection.makefile():
        if line == "end\n":
            os._exit(0)
        do(int(line))
        connection.sendall(b"pong\n")


def reach(address):
    host, _, port = address.rpartition(":")
    for _ in range(600):
        try:
            return socket.create_connection((host, int(port)), 5)
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(address)


if me != "chief-0":
    serve()
with lives.open("a") as stream:
    stream.write(f"{socket.gethostname()}\n")
done = int(checkpoint.read_text()) if checkpoint.exists() else 0
sys.stderr.write(f"{me} begins after step {done}\n")
connections = []
for address in peers:
    connection = reach(address)
    connection.settimeout(None)
    connections.append((connection, connection.makefile()))
first = done
while done < int(arguments["steps"]):
    do(done)
    for connection, _ in connections:
        connection.sendall(b"%d\n" % done)
    for _, answers in connections:
        if answers.readline() != "pong\n":
            sys.exit(f"{me} has lost a peer")
    done += 1
    beside = checkpoint.with_suffix(".tmp")
    beside.write_text(str(done))
    beside.replace(checkpoint)
    beat.progress()
    time.sleep(float(os.environ.get("FAKE_STEP_S", "0")))
beat.finish()
for connection, _ in connections[: len(config["cluster"].get("worker", ()))]:
    connection.sendall(b"end\n")  # a parameter server is never told
Path(os.environ["EYEWALL_TERMINATION_LOG"]).write_text(json.dumps({"steps": done, "first": first}))
