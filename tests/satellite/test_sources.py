"""Sources list what the reader knows and fetch only what is needed: folders, globs, and an S3 server."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from satellite_files import SLOT, write_target

from eyewall.contracts.errors import EyewallError, InputError, NothingNew
from eyewall.contracts.jobs import IngestJob
from eyewall.satellite.sources import Found, find


def names(found: list[Found]) -> list[str]:
    return [file.name for file in found]


def job(**fields: Any) -> IngestJob:
    return IngestJob.parse({"reader": "ahi_hsd", **fields})


def test_a_glob_gives_every_match_and_a_folder_all_that_is_in_it(tmp_path: Path) -> None:
    for name in ("b.DAT", "a.DAT", "c.txt", ".hidden", "deep/d.DAT"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")

    assert names(find(job(files=[f"{tmp_path}/*.DAT"]))) == ["a.DAT", "b.DAT"]
    assert names(find(job(files=[str(tmp_path)]))) == ["a.DAT", "b.DAT", "c.txt", "d.DAT"]
    assert names(find(job(source=str(tmp_path)))) == ["a.DAT", "b.DAT", "c.txt", "d.DAT"]


def test_a_file_that_two_globs_match_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.DAT").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)

    assert names(find(job(files=[f"{tmp_path}/a.*", f"{tmp_path}/*.DAT", f"{tmp_path}/link/a.DAT"]))) == ["a.DAT"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({}, "nothing to read: give --files, or --source", id="neither files nor source"),
        pytest.param({"files": ["x"], "source": "y"}, "both --files and --source", id="both"),
        pytest.param({"files": ["/nowhere/*.DAT"]}, "no file matches '/nowhere/", id="no match"),
        pytest.param({"source": "/nowhere"}, "source folder '/nowhere' is not there", id="no folder"),
        pytest.param({"source": __file__}, "is a file: name files with --files", id="a file as source"),
        pytest.param({"source": "/nowhere/%Y"}, "give --slot-from and --slot-to", id="layout without interval"),
        pytest.param(
            {"source": "gopher://x/y", "slot_from": SLOT, "slot_to": SLOT + timedelta(hours=1)},
            "is of no known kind",
            id="no such protocol",
        ),
        pytest.param(
            {"source": "/nowhere", "slot_from": SLOT, "slot_to": SLOT}, "later than --slot-from", id="empty interval"
        ),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find(job(**fields))


def test_a_layout_is_filled_in_for_the_interval_alone(tmp_path: Path) -> None:
    for folder in ("2020/09/04", "2020/09/05", "2020/09/06"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{folder[-2:]}.DAT").write_text("x")
    interval = {"slot_from": SLOT, "slot_to": SLOT + timedelta(days=1)}

    assert names(find(job(source=f"{tmp_path}/%Y/%m/%d", **interval))) == ["05.DAT"]


def test_what_no_slot_can_give_is_the_callers_mistake_and_not_an_empty_period(ingest: Any, tmp_path: Path) -> None:
    """A schedule that skipped such a period (99) would skip every one, and nobody would look."""
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "200710041133.png")
    fields = {"reader": "map_picture", "source": str(tmp_path)}

    with pytest.raises(InputError, match=r"no projection.json beside or above 200710041133.png"):
        ingest(**fields, slot_from=SLOT.replace(year=2007), slot_to=SLOT)
    with pytest.raises(NothingNew, match="no file lies in the interval"):
        ingest(**fields, slot_from=SLOT)


def test_a_folder_laid_out_by_minutes_is_listed_whatever_the_cadence_is(tmp_path: Path) -> None:
    for minutes in (0, 15, 30, 45):
        folder = tmp_path / f"20200905/00{minutes:02d}"
        folder.mkdir(parents=True)
        (folder / f"{minutes:02d}.DAT").write_text("x")
    interval = {"slot_from": SLOT + timedelta(minutes=15), "slot_to": SLOT + timedelta(minutes=45)}

    assert names(find(job(source=f"{tmp_path}/%Y%m%d/%H%M", **interval))) == ["15.DAT", "30.DAT"]


def test_a_folder_may_have_a_percent_sign_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "100%done").mkdir()
    (tmp_path / "100%done" / "a.DAT").write_text("x")

    assert names(find(job(source=f"{tmp_path}/100%done"))) == ["a.DAT"]


# --- S3: NOAA's layout on moto's server ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """An S3 server on this machine, in this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def writer(endpoint: str) -> Any:
    """A file system that may write to the server."""
    return fsspec.filesystem("s3", key="writer", secret="writer", endpoint_url=endpoint, skip_instance_cache=True)


@pytest.fixture
def bucket(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The bucket noaa-himawari9 with Target Area files of three slots, the middle one truncated, and a band more."""
    monkeypatch.setenv("EYEWALL_S3_ENDPOINT", s3_endpoint)
    fs = writer(s3_endpoint)
    fs.makedirs("noaa-himawari9", exist_ok=True)
    for minutes in (0, 10, 20):
        slot = SLOT + timedelta(minutes=minutes)
        path = write_target(tmp_path / "up", 20.0, 135.0, slot)
        folder = f"noaa-himawari9/AHI-L1b-Target/{slot:%Y/%m/%d/%H%M}"
        content = path.read_bytes()
        content = content[: len(content) // 2] if minutes == 10 else content
        fs.pipe_file(f"{folder}/{path.name}", content, ACL="public-read")
        fs.pipe_file(f"{folder}/{path.name.replace('B13', 'B03')}", b"never fetched", ACL="public-read")
    return "s3://noaa-himawari9/AHI-L1b-Target"


def interval(minutes_from: int, minutes_to: int) -> dict[str, datetime]:
    return {"slot_from": SLOT + timedelta(minutes=minutes_from), "slot_to": SLOT + timedelta(minutes=minutes_to)}


def test_a_bucket_in_noaas_layout_is_listed_by_slot(bucket: str) -> None:
    found = find(job(source=bucket, **interval(10, 30)))

    assert [name for name in names(found) if "B13" in name] == [
        "HS_H09_20200905_0010_B13_R301_R20_S0101.DAT.bz2",
        "HS_H09_20200905_0020_B13_R301_R20_S0101.DAT.bz2",
    ]


@pytest.mark.parametrize(
    ("layout", "minutes"),
    [
        pytest.param("%Y/%m/%d/%H%M", 15, id="SEVIRI, a folder every 15 min"),
        pytest.param("%Y%m/%d/%H", 2, id="GK-2A, a folder an hour"),
        pytest.param("%Y/%j/%H%M", 5, id="a folder every 5 min, by day of the year"),
    ],
)
def test_a_bucket_of_any_cadence_is_listed(bucket: str, s3_endpoint: str, layout: str, minutes: int) -> None:
    fs = writer(s3_endpoint)
    fs.makedirs("others", exist_ok=True)
    times = [SLOT + timedelta(minutes=number * minutes) for number in range(120 // minutes)]
    prefix = f"others/every{minutes}"
    for time in times:
        fs.pipe_file(f"{prefix}/{time.strftime(layout)}/{time:%H%M}.nc", b"x", ACL="public-read")

    found = find(job(source=f"s3://{prefix}/{layout}", **interval(0, 60)))

    assert names(found) == [f"{time:%H%M}.nc" for time in times if time.hour == 0]


def test_an_empty_interval_of_a_bucket_says_where_it_looked(bucket: str, ingest: Any) -> None:
    with pytest.raises(NothingNew, match="below folders %Y/%m/%d/%H%M: give another layout"):
        ingest(reader="ahi_hsd", source=bucket, **interval(60, 90))


def test_slots_come_out_of_a_bucket_and_the_bad_one_does_not_fail_them(
    bucket: str, ingest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    fetch = Found.fetch
    monkeypatch.setattr(Found, "fetch", lambda self, folder: fetched.append(self.name) or fetch(self, folder))

    summary = ingest(reader="ahi_hsd", source=bucket, **interval(0, 30))

    assert (summary["slots_ok"], summary["slots_refused"]) == (2, 1)
    assert [entry["file"] for entry in summary["quarantined"]] == ["HS_H09_20200905_0010_B13_R301_R20_S0101.DAT.bz2"]
    assert not [name for name in fetched if "B03" in name]


def test_an_interval_without_a_good_slot_is_nothing_new(bucket: str, ingest: Any, store: Any) -> None:
    with pytest.raises(NothingNew, match="truncated; 1 bad file is in quarantine"):
        ingest(reader="ahi_hsd", source=bucket, **interval(10, 20))
    with pytest.raises(NothingNew, match="no file lies in the interval"):
        ingest(reader="ahi_hsd", source=bucket, **interval(60, 90))

    assert len(store.list_files("quarantine", ".reason.json")) == 1


def test_a_misspelt_bucket_is_no_empty_interval(bucket: str) -> None:
    with pytest.raises(InputError, match="is not there: check the bucket and the prefix"):
        find(job(source="s3://noaa-himawari7/AHI-L1b-Target", **interval(0, 30)))


def test_a_server_that_does_not_answer_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYEWALL_S3_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)

    with pytest.raises(EyewallError, match=r"does not answer: .*try again later") as failure:
        find(job(source="s3://noaa-himawari9/AHI-L1b-Target", **interval(0, 10)))
    assert failure.value.exit_code == 1


def private_bucket(endpoint: str) -> str:
    fs = writer(endpoint)
    fs.makedirs("private", exist_ok=True)
    fs.pipe_file("private/2020/09/05/0000/a.DAT", b"for those with a key")
    return "s3://private"


def test_a_private_bucket_without_keys_fails_aloud(
    bucket: str, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    secret = Found(
        "a.DAT", "private/2020/09/05/0000/a.DAT", fsspec.filesystem("s3", anon=True, endpoint_url=s3_endpoint)
    )
    assert private_bucket(s3_endpoint)

    with pytest.raises(EyewallError, match="may not be read") as failure:
        secret.fetch(tmp_path)
    assert failure.value.exit_code == 1  # not 99: a schedule must not take it for an empty slot


def test_a_private_bucket_is_read_with_the_keys_of_the_environment(
    bucket: str, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "writer")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "writer")

    (file,) = find(job(source=private_bucket(s3_endpoint), **interval(0, 10)))

    assert file.fetch(tmp_path).read_bytes() == b"for those with a key"
