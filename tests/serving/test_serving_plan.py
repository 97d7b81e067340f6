"""Model configs, theirs and ours, become a checked plan; nothing outside the repository is ever in one."""

import contextlib
from pathlib import Path
from types import SimpleNamespace as Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.serving.index import Index, ServedModel
from eyewall.serving.plan import ModelPlan, inside, plans_of_config, plans_of_index, versions_in, without_labels_to
from eyewall.serving.status import StatusError


def config(name: str = "track", base_path: str = "track", **fields: object) -> Message:
    policy = Message(
        WhichOneof=lambda _: "specific", latest=Message(num_versions=0), specific=Message(versions=[2, 1, 2])
    )
    values = {"model_platform": "tensorflow", "model_version_policy": policy, "version_labels": {"stable": 1}} | fields
    return Message(name=name, base_path=base_path, **values)


def test_a_config_becomes_a_plan_with_its_versions_and_labels(tmp_path):
    (plan,) = plans_of_config([config()], tmp_path)
    assert plan == ModelPlan("track", tmp_path / "track", "specific", versions=(1, 2), labels={"stable": 1})


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("../outside", id="climbs"),
        pytest.param("track/../../outside", id="climbs-later"),
        pytest.param("/etc", id="absolute"),
        pytest.param("", id="empty"),
        pytest.param(".", id="the-repository-itself"),
        pytest.param("tr\x00ack", id="nul"),
        pytest.param("link", id="symbolic-link"),
    ],
)
def test_a_base_path_outside_of_the_repository_is_refused(tmp_path, path):
    root = tmp_path / "serving"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(StatusError) as refused:
        plans_of_config([config(base_path=path)], root)
    assert refused.value.code == "INVALID_ARGUMENT"


@given(st.text(max_size=40))
def test_no_text_at_all_leads_out_of_the_repository(text):
    root = Path("/nowhere/serving")
    with contextlib.suppress(StatusError):
        assert inside(text, root).is_relative_to(root)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "x" * 101, "-rf", "track\n"])
def test_a_hostile_model_name_is_refused(tmp_path, name):
    with pytest.raises(StatusError, match="not usable"):
        plans_of_config([config(name=name)], tmp_path)


def test_one_model_twice_and_an_unknown_platform_are_refused(tmp_path):
    with pytest.raises(StatusError, match="multiple times"):
        plans_of_config([config(), config()], tmp_path)
    with pytest.raises(StatusError, match="no entry for platform caffe"):
        plans_of_config([config(model_platform="caffe")], tmp_path)


def test_only_folders_with_a_number_for_a_name_are_versions(tmp_path):
    for name in ("1", "10", "2", ".3.abc.tmp", "4.failed", "stable", "-5"):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file")
    assert versions_in(tmp_path) == [1, 2, 10]
    assert ModelPlan("m", tmp_path, "latest", count=2).wanted() == {2, 10}
    assert ModelPlan("m", tmp_path, "all").wanted() == {1, 2, 10}
    assert versions_in(tmp_path / "absent") == []


def test_the_index_serves_exactly_what_it_lists(tmp_path):
    index = Index(models={"track": ServedModel(served=(3, 2), labels={"stable": 3}), "idle": ServedModel()})
    assert plans_of_index(index, tmp_path) == [
        ModelPlan("track", tmp_path / "track", "specific", versions=(2, 3), labels={"stable": 3})
    ]


def test_the_first_half_of_a_label_move_keeps_the_old_version_and_label(tmp_path):
    plans = [ModelPlan("track", tmp_path, "specific", versions=(3,), labels={"stable": 3})]
    (half,) = without_labels_to(plans, {"track": {"stable": 2}})
    assert (half.versions, half.labels) == ((2, 3), {"stable": 2})
