"""The way to the API server of a kubeconfig, which a test can close or freeze for whoever takes this way."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Proxy:
    """The way to the API server, which can be closed."""

    def __init__(self, kubeconfig_file: str, folder: Path) -> None:
        """``folder``: where the kubeconfig for the way through the proxy is put."""
        kubeconfig = yaml.safe_load(Path(kubeconfig_file).read_text())
        self._server = urlsplit(kubeconfig["clusters"][0]["cluster"]["server"])
        self._process, self.port = None, 0
        self.open()
        kubeconfig["clusters"][0]["cluster"] |= {
            "server": f"https://127.0.0.1:{self.port}",
            "tls-server-name": self._server.hostname,
        }
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.touch(0o600)
        self.kubeconfig.write_text(yaml.safe_dump(kubeconfig))

    def open(self) -> None:
        """Let requests through."""
        script = Path(__file__).with_name("tcp_proxy.py")
        args = [sys.executable, str(script), str(self.port), self._server.hostname, str(self._server.port or 443)]
        self._process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        """As if the API server were down: connections break, new ones are refused."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def freeze(self, frozen: bool) -> None:
        """As if it were frozen: connections are accepted, nothing is answered."""
        os.kill(self._process.pid, signal.SIGSTOP if frozen else signal.SIGCONT)
