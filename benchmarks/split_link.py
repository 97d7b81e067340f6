"""What the shaped link of the split study gives, against arithmetic: plain TCP, a message up and 64 bytes back.

    .venv/bin/python benchmarks/split_link.py                # as root, for namespaces; else the proxy is measured
    .venv/bin/python benchmarks/split_link.py --link proxy

Prints, for each bandwidth, round trip and size: median and range of the measured time, and size·8/bandwidth + rtt.
About three minutes. The difference is headers (4.6 % of long messages), slow start, and the machine's own work.
"""

import argparse
import json
import statistics
import subprocess
import sys

from eyewall.split.study.link import LinkSpec, open_link

SERVER = """
import socket, struct, sys
listener = socket.socket()
listener.bind((sys.argv[1], 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
client, _ = listener.accept()
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while len(head := client.recv(8, socket.MSG_WAITALL)) == 8:
    left = struct.unpack("<Q", head)[0]
    while left:
        left -= len(client.recv(min(left, 1 << 20)))
    client.sendall(b"x" * 64)
"""
CLIENT = """
import json, socket, struct, sys, time
host, port = sys.argv[1].rsplit(":", 1)
end = socket.create_connection((host, int(port)))
end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for line in sys.stdin:
    size, repeats = map(int, line.split())
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        end.sendall(struct.pack("<Q", size) + b"y" * size)
        end.recv(64, socket.MSG_WAITALL)
        took.append(time.perf_counter() - began)
    print(json.dumps(took), flush=True)
"""
SIZES = (500, 3_000, 30_000, 300_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--link", choices=("auto", "namespaces", "proxy"), default="auto")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    with open_link(options.link) as link:
        print(link.describe())
        args = link.as_server([sys.executable, "-c", SERVER, link.server_host])
        server = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        try:
            address = link.address(int(server.stdout.readline()))
            args = link.as_client([sys.executable, "-c", CLIENT, address])
            with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
                for bandwidth_bps in (1e9, 1e8, 1e7, 1e6):
                    for rtt_s in (0.001, 0.020, 0.200):
                        spec = LinkSpec(bandwidth_bps=bandwidth_bps, rtt_s=rtt_s)
                        link.shape(spec)
                        _measure(client, spec, options.repeats)
                client.stdin.close()
        finally:
            server.kill()
            server.wait()


def _measure(client: "subprocess.Popen[str]", spec: LinkSpec, repeats: int) -> None:
    print(f"\n{spec.name:>20}  {'bytes':>7}  {'median':>9}  {'range':>19}  {'reckoned':>9}   ms")
    for size in SIZES:
        reckoned_s = (size + 72) * 8 / spec.bandwidth_bps + spec.rtt_s
        times = repeats if reckoned_s < 0.5 else 3
        client.stdin.write(f"{size} {times}\n")
        client.stdin.flush()
        took = [1000 * seconds for seconds in json.loads(client.stdout.readline())]
        span = f"{min(took):.2f}–{max(took):.2f}"
        print(f"{'':>20}  {size:>7}  {statistics.median(took):>9.2f}  {span:>19}  {1000 * reckoned_s:>9.2f}")


if __name__ == "__main__":
    main()
