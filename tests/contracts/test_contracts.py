"""Areas, layout, clusters, manifests and settings: what both sides of a step agree on."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.contracts import layout
from eyewall.contracts.cluster import Cluster, Replica
from eyewall.contracts.errors import ContractError
from eyewall.contracts.fields import parse_area
from eyewall.contracts.manifest import FileEntry, Manifest
from eyewall.contracts.settings import Settings


def test_contracts_need_nothing_heavy() -> None:
    """Importing every contract loads neither numpy nor anything that is built on it."""
    code = (
        "import sys, pkgutil, importlib, eyewall.contracts as c\n"
        "for m in pkgutil.iter_modules(c.__path__): importlib.import_module('eyewall.contracts.' + m.name)\n"
        "print([m for m in ('numpy', 'pandas', 'fsspec', 'typer', 'tensorflow') if m in sys.modules])"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("100,0,180,60,0.1", (100, 0, 180, 60, 0.1), id="plain"),
        pytest.param("100,60,180,0,0.1", (100, 0, 180, 60, 0.1), id="north-first"),
        pytest.param("170,0,-170,20,0.5", (170, 0, 190, 20, 0.5), id="date-line"),
        pytest.param("-20,-10,20,10,1", (340, -10, 380, 10, 1), id="greenwich"),
        pytest.param("0,-90,360,90,1", (0, -90, 360, 90, 1), id="whole-earth"),
    ],
)
def test_areas_are_normalised_to_0_360_with_east_beyond_west(text: str, expected: tuple[float, ...]) -> None:
    assert tuple(parse_area(text)) == pytest.approx(expected)


@given(st.text(max_size=150))
def test_any_text_becomes_one_path_component(text: str) -> None:
    key = layout.safe_key(text)

    assert "/" not in key
    assert key not in ("", ".", "..")
    assert len(key) <= 100


@given(st.text(max_size=30), st.text(max_size=30))
def test_distinct_texts_have_distinct_keys(a: str, b: str) -> None:
    assert (layout.safe_key(a) == layout.safe_key(b)) == (a == b)


def test_frame_paths_say_their_time_in_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    path = layout.frame_path("demo", datetime(2020, 8, 1, 3, tzinfo=tokyo), "200717")

    assert path == "frames/demo/2020/07/31/20200731T180000Z__200717.nc"
    assert layout.parse_frame_path(path) == (datetime(2020, 7, 31, 18, tzinfo=UTC), "200717")


def test_tf_config_names_the_cluster_and_the_task() -> None:
    cluster = Cluster(chief="a:1", workers=("b:1", "c:1"), ps=("d:1",))

    assert [str(r) for r in cluster.replicas()] == ["chief-0", "worker-0", "worker-1", "ps-0"]
    assert json.loads(cluster.tf_config(Replica(role="worker", index=1))) == {
        "cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]},
        "task": {"type": "worker", "index": 1},
    }


def test_dtensor_counts_the_chief_and_then_the_workers_as_its_clients() -> None:
    cluster = Cluster(chief="a:1", workers=("b:2", "c:3"))
    worker = Replica(role="worker", index=1)

    assert cluster.environment(worker, "model_parallel") == {
        "TF_CONFIG": cluster.tf_config(worker),
        "DTENSOR_JOBS": "a:1,b:2,c:3",
        "DTENSOR_CLIENT_ID": "2",
        "DTENSOR_NUM_CLIENTS": "3",
        "DTENSOR_JOB_NAME": "worker",
    }
    assert set(cluster.environment(worker, "multi_worker")) == {"TF_CONFIG"}
    # Alone, DTensor needs no peers: the variables would make it open a port for none.
    assert set(Cluster(chief="a:1").environment(Replica(role="chief", index=0), "model_parallel")) == {"TF_CONFIG"}


def test_a_replica_that_is_not_of_the_cluster_gets_no_tf_config() -> None:
    with pytest.raises(ValueError, match="worker-5 is not a replica"):
        Cluster(chief="a:1").tf_config(Replica(role="worker", index=5))


def test_two_replicas_cannot_share_an_address() -> None:
    with pytest.raises(ValueError, match="share an address"):
        Cluster(chief="a:1", workers=("a:1",))


def test_a_manifest_s_digest_depends_on_its_content_alone() -> None:
    entry = FileEntry(path="x", sha256="0" * 64, bytes=3)
    one = Manifest(kind="records", code_version="1", inputs={"b": "2", "a": "1"}, files=(entry,))
    two = Manifest(files=(entry,), inputs={"a": "1", "b": "2"}, code_version="1", kind="records")

    assert one.sha256() == two.sha256() != one.model_copy(update={"counts": {"train": 1}}).sha256()


SETTINGS = """
store = "s"
[streams.cwb.ingest]
reader = "map_picture"
source = "frames"
[streams.cwb.records]
tracks = "bt.csv"
"""


def test_settings_give_each_step_of_a_stream_its_arguments(tmp_path: Path) -> None:
    path = tmp_path / "eyewall.toml"
    path.write_text(SETTINGS)

    settings = Settings.load({"EYEWALL_SETTINGS": str(path), "EYEWALL_STORE": "elsewhere"})
    job = settings.job("ingest", "cwb", dataset="x", area=None)

    expected = ["--stream=cwb", "--reader=map_picture", "--source=frames", "--dataset=x"]
    assert job.to_args() == ["ingest", "--store=elsewhere", *expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("nonsense = 1", "nonsense", id="unknown-key"),
        pytest.param("[streams.a.fly]\nx = 1", "no such step", id="unknown-step"),
        pytest.param("[streams.a.ingest]\nshell = 'x'", "shell", id="unknown-field"),
        pytest.param("backend = 'ssh'", "backend", id="unknown-backend"),
        pytest.param("store = ", "TOML", id="not-toml"),
    ],
)
def test_wrong_settings_are_refused_with_the_place(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "eyewall.toml"
    path.write_text(text)

    with pytest.raises(ContractError, match=message):
        Settings.load({"EYEWALL_SETTINGS": str(path)})


def test_a_stream_that_is_not_in_the_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no stream 'other'"):
        Settings().job("ingest", "other")


def test_a_settings_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read"):
        Settings.load({"EYEWALL_SETTINGS": str(tmp_path / "none.toml")})
