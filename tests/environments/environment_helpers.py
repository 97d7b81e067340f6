"""What several of this folder's tests do: look at a row, write a wheel, be quiet."""

import base64
import hashlib
import zipfile

from eyewall.environments.table import environments

NAME = "six-1.17"


def row(connection, name=NAME):
    (found,) = [each for each in environments(connection) if each.name == name]
    return found


def write_wheel(folder, name="eyewalltestpkg", version="2.1.3+cpu", code="__version__ = '2.1.3'\n"):
    """A real wheel of one module, for any Python."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{file},sha256={digest},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def quiet(_steps=1, _sentence=""):
    """Progress that nobody looks at."""
