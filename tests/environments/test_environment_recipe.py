"""The list of environments is read strictly: whatever is wrong in it is one clear sentence that names the place."""

import re
import shutil
from pathlib import Path

import pytest

from eyewall.contracts.errors import InputError
from eyewall.environments import recipe as module
from eyewall.environments.recipe import read_recipes, recipe_named

ROOT = Path(__file__).resolve().parents[2]
SIX = "requirements: [six==1.17.0]"
BASE = "python:{python}-slim-bookworm"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "lists no environments", id="empty"),
        pytest.param("- six-1.17", "lists no environments", id="a list"),
        pytest.param("six-1.17: {requirements: [", "not valid YAML: line 1, column 27", id="not YAML"),
        pytest.param("six-1.17: {requirements: [\x00]}", "not valid YAML", id="control character"),
        pytest.param("a: &a [*a]\nsix-1.17: *b", "not valid YAML: line 2.*undefined alias", id="unknown alias"),
        pytest.param(f"six-1.17: {{{SIX}}}\nsix-1.17: {{{SIX}}}", "line 2.*'six-1.17' stands there twice", id="twice"),
        pytest.param(f"six-1.17: {{{SIX}, {SIX}}}", "'requirements' stands there twice", id="field twice"),
        pytest.param(f"six: {{{SIX}}}", "'six' names no environment", id="name without a version"),
        pytest.param(f"local: {{{SIX}}}", "'local' names no environment", id="the dispatcher's own"),
        pytest.param(f"../six-1.17: {{{SIX}}}", "'../six-1.17' names no environment", id="name of another folder"),
        pytest.param(f"Six-1.17: {{{SIX}}}", "'Six-1.17' names no environment", id="name that no repository can have"),
        pytest.param(f"1.17: {{{SIX}}}", "1.17 names no environment", id="name that is a number"),
        pytest.param(f"six-1.1: {{{SIX}}}", "six-1.1 is not 'six==1.17.0': name it six-1.17.0", id="another version"),
        pytest.param("six-1.17: six==1.17.0", "six-1.17 is 'six==1.17.0': give {requirements", id="no fields"),
        pytest.param("six-1.17: {}", "six-1.17: requirements: Field required", id="nothing required"),
        pytest.param("six-1.17: {requirements: []}", "requirements = .*at least 1 item", id="no requirement"),
        pytest.param("six-1.17: {requirements: six==1.17.0}", "valid tuple", id="text for a list"),
        pytest.param("six-1.17: {requirements: [six]}", "'six', the framework, is not pinned", id="no pin"),
        pytest.param("six-1.17: {requirements: ['six==1.*']}", "is not pinned", id="a pin of many"),
        pytest.param("six-1.17: {requirements: [six==1.17.0, -e .]}", "'-e .' is no requirement", id="an option"),
        pytest.param(
            "six-1.17: {requirements: [six==1.17.0, 'x @ https://example.org/x.whl']}", "is a URL", id="a URL"
        ),
        pytest.param(f"six-1.17: {{{SIX}, pyhton: '3.11'}}", "pyhton = '3.11': Extra inputs", id="unknown field"),
        pytest.param(
            f"six-1.17: {{{SIX}, python: 3.11}}", "python = 3.11: Input should be a valid string", id="number"
        ),
        pytest.param(f"six-1.17: {{{SIX}, python: '2.7'}}", "python = '2.7'", id="another Python"),
        pytest.param(f"six-1.17: {{{SIX}, check: 'six.PY3 ='}}", "is no Python expression", id="check"),
        pytest.param(f"six-1.17: {{{SIX}, module: 'os; import sys'}}", "module = 'os; import sys'", id="module"),
        pytest.param(f"six-1.17: {{{SIX}, omit: [six]}}", "asks for six and omits it", id="omits what it asks for"),
        pytest.param(f"six-1.17: {{{SIX}, omit: ['a==1']}}", "'a==1' is more than a package's name", id="omits a pin"),
        pytest.param(f"six-1.17: {{{SIX}, index: 'https://me:secret@x/simple'}}", "index = ", id="password in index"),
        pytest.param(f"six-1.17: {{{SIX}, gpu: [six]}}", "gpu = .*'six', the framework, is not pinned", id="gpu"),
    ],
)
def test_whatever_is_wrong_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "environments.yaml").write_text(text)

    with pytest.raises(InputError, match=sentence) as caught:
        read_recipes(tmp_path)

    assert str(tmp_path / "environments.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"environments\.yaml cannot be read: No such file"):
        read_recipes(tmp_path)


def test_an_unknown_environment_comes_with_those_that_there_are(recipes):
    with pytest.raises(InputError, match=r"no environment 'jax-0\.9': environments are six-1\.17; add it to"):
        recipe_named("jax-0.9", recipes)


def test_a_line_is_enough_and_gpu_is_an_environment_of_its_own(tmp_path):
    (tmp_path / "environments.yaml").write_text(
        "some-frame-work-2.1:\n  requirements: [some-cpu==2.1.3+cpu, other]\n  omit: [some]\n  gpu: [some==2.1.3]\n"
    )

    found = read_recipes(tmp_path)

    assert list(found) == ["some-frame-work-2.1", "some-frame-work-2.1-gpu"]
    cpu, gpu = found.values()
    assert (cpu.framework, cpu.version, cpu.module, cpu.python) == (
        "some-frame-work",
        "2.1.3+cpu",
        "some_frame_work",
        "3.11",
    )
    assert (gpu.framework, gpu.version, gpu.omit) == ("some-frame-work", "2.1.3", ())
    assert cpu.lock_file == tmp_path / "environments" / "some-frame-work-2.1.txt"


def test_a_missing_lock_and_one_of_other_requirements_are_refused(recipes, tiny):
    assert "six==1.17.0\n" in tiny.lock()

    (recipes / "environments.yaml").write_text("six-1.17: {requirements: [six==1.17.0, idna]}\n")
    with pytest.raises(
        InputError, match=r"was made for other requirements than six==1\.17\.0, idna: `eyewall env lock"
    ):
        recipe_named("six-1.17", recipes).lock()
    tiny.lock_file.unlink()
    with pytest.raises(InputError, match=r"environment six-1\.17 has no lock .*six-1\.17\.txt: `eyewall env lock six"):
        tiny.lock()


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        pytest.param("environments.yaml", "[six==1.17.0]", "[six==1.17.0, idna]", id="requirements"),
        pytest.param("environments.yaml", "check:", "python: '3.12', check:", id="Python"),
        pytest.param("environments.yaml", "check:", "omit: [idna], check:", id="omitted"),
        pytest.param("environments/six-1.17.txt", "six==1.17.0\n", "six==1.17.0\nidna==3.11\n", id="lock"),
        pytest.param("environment/Dockerfile", "FROM", "# a comment\nFROM", id="Dockerfile"),
    ],
)
def test_the_digest_is_of_all_that_decides_what_is_inside(recipes, tiny, path, old, new):
    before = tiny.sha256(BASE)
    assert recipe_named("six-1.17", recipes).sha256(BASE) == before

    change(recipes / path, old, new)

    assert recipe_named("six-1.17", recipes).sha256(BASE) != before


def test_the_digest_is_also_of_the_base_and_of_eyewall_report(tiny, monkeypatch):
    before = tiny.sha256(BASE)

    assert tiny.sha256("python:{python}-bookworm") != before
    assert tiny.sha256("python:3.11-slim-bookworm") == before  # {python} is 3.11
    monkeypatch.setattr(module, "eyewall_files", lambda: {"__init__.py": b"", "report.py": b"# other\n"})
    assert tiny.sha256(BASE) != before


def test_the_digest_is_not_of_how_it_is_verified_nor_of_where_it_lies(recipes, tiny, tmp_path):
    before = tiny.sha256(BASE)
    change(recipes / "environments.yaml", "check: six.PY3", "check: six.PY34, module: six")
    moved = Path(shutil.copytree(recipes, tmp_path / "elsewhere"))

    assert recipe_named("six-1.17", moved).sha256(BASE) == before


def test_the_projects_own_environments_are_locked_and_name_no_host():
    found = read_recipes(ROOT / "images")
    assert {"tensorflow-2.21", "tensorflow-2.17", "pytorch-2.13"} <= set(found)

    for each in found.values():
        lock = each.lock()
        assert f"=={each.version}\n" in lock
        assert not re.search(r"://|--index|--find|@", lock)


def test_the_image_is_made_with_the_uv_of_the_project():
    (version,) = re.findall(r"^ARG UV=(.+)$", (ROOT / "images" / "environment" / "Dockerfile").read_text(), re.M)

    assert f'"uv=={version}"' in (ROOT / "pyproject.toml").read_text()


def test_the_line_that_the_docs_show_is_one(tmp_path):
    docs = (ROOT / "docs" / "architecture" / "08-jobs.md").read_text()
    (text,) = re.findall(r"```yaml\n(jax.*?)```", docs, re.S)
    (tmp_path / "environments.yaml").write_text(text)

    (found,) = read_recipes(tmp_path).values()

    assert found.version.startswith(found.name.removeprefix("jax-") + ".")
