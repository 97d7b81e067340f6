"""A lock says every version, keeps them until it is told otherwise, and takes local wheels where no index has one."""

# NOTE: injected by pytest, defined in conftests: recipes, tiny
import subprocess

import pytest
from environment_helpers import write_wheel

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.environments import lock
from eyewall.environments.recipe import read_recipes, recipe_named


def test_a_lock_is_every_package_and_what_it_was_made_for(tiny):
    assert tiny.lock_file.read_text() == (
        "# Made by `eyewall env lock six-1.17` for:\n"
        "# Python 3.11, Linux x86_64: six==1.17.0\n"
        "six==1.17.0\n"
    )  # fmt: skip


def test_what_is_locked_stays_until_an_upgrade(recipes, tmp_path):
    (recipes / "environments.yaml").write_text("six-1.17: {requirements: [six==1.17.0, idna]}\n")
    recipe = recipe_named("six-1.17", recipes)
    recipe.lock_file.write_text("idna==3.7\nsix==1.17.0\n")

    lock.make_lock(recipe, tmp_path)
    assert lock.packages(recipe.lock()) == {"idna": "3.7", "six": "1.17.0"}

    lock.make_lock(recipe, tmp_path, upgrade=True)
    newest = lock.packages(recipe.lock())["idna"]
    assert [int(part) for part in newest.split(".")] > [3, 7]


def test_an_omitted_package_is_left_out_although_another_asks_for_it(recipes, tmp_path):
    (recipes / "environments.yaml").write_text(
        "python-dateutil-2.9:\n  requirements: [python-dateutil==2.9.0.post0]\n  omit: [six]\n"
        "  gpu: [python-dateutil==2.9.0.post0]\n"
    )
    for recipe in read_recipes(recipes).values():
        lock.make_lock(recipe, tmp_path)

    plain, gpu = read_recipes(recipes).values()
    assert set(lock.packages(plain.lock())) == {"python-dateutil"}
    assert set(lock.packages(gpu.lock())) == {"python-dateutil", "six"}


@pytest.mark.parametrize(
    ("requirements", "sentence"),
    [
        pytest.param(["six==1.17.99"], "no version of six==1.17.99", id="version that does not exist"),
        pytest.param(["six==1.17.0", "six<1.17"], "unsatisfiable|conflicting", id="contradiction"),
    ],
)
def test_requirements_without_an_answer_leave_the_old_lock(recipes, tiny, tmp_path, requirements, sentence):
    before = tiny.lock_file.read_bytes()
    (recipes / "environments.yaml").write_text(f"six-1.17: {{requirements: {requirements}}}\n")

    with pytest.raises(InputError, match=f"environment six-1.17 cannot be locked: .*({sentence})") as caught:
        lock.make_lock(recipe_named("six-1.17", recipes), tmp_path)

    assert "\n" not in str(caught.value)
    assert tiny.lock_file.read_bytes() == before
    assert sorted(path.name for path in tiny.lock_file.parent.iterdir()) == ["six-1.17.txt"]


def test_a_version_with_a_local_label_comes_from_where_pip_looks(recipes, tmp_path, monkeypatch):
    """And a GPU variant, which wants the same version without the label, does not see that wheel."""
    write_wheel(tmp_path / "shelf")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    (recipes / "environments.yaml").write_text("eyewalltestpkg-2.1: {requirements: [eyewalltestpkg==2.1.3+cpu]}\n")
    recipe = recipe_named("eyewalltestpkg-2.1", recipes)

    lock.make_lock(recipe, tmp_path / "var")

    assert lock.packages(recipe.lock()) == {"eyewalltestpkg": "2.1.3+cpu"}
    (wheel,) = (tmp_path / "var").rglob("*.whl")
    assert wheel.parent == lock.wheels_of(recipe, tmp_path / "var")
    assert lock.wheels_of(recipe, tmp_path / "var").name == "eyewalltestpkg-2.1"


def test_a_version_with_a_local_label_that_is_nowhere_is_refused(recipes, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    (recipes / "environments.yaml").write_text("six-1.17: {requirements: [six==1.17.0+cpu]}\n")

    with pytest.raises(
        InputError, match=r"six==1\.17\.0\+cpu is in neither of pip's own places; give the entry an index"
    ):
        lock.make_lock(recipe_named("six-1.17", recipes), tmp_path / "var")

    assert not list((tmp_path / "var").rglob("*.whl"))


def test_the_settings_of_a_project_around_it_do_not_matter(recipes, tiny, tmp_path, monkeypatch):
    """In the pyproject.toml of the folder that uv is started in, six could be left out."""
    (tmp_path / "pyproject.toml").write_text("[tool.uv]\noverride-dependencies = ['six ; sys_platform == \"never\"']\n")
    monkeypatch.chdir(tmp_path)

    lock.make_lock(tiny, tmp_path / "var", upgrade=True)

    assert lock.packages(tiny.lock()) == {"six": "1.17.0"}


def test_a_uv_that_fails_for_another_reason_is_no_fault_of_the_recipe(monkeypatch):
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 2, "", "error: no route to host\n")
    )
    with pytest.raises(EyewallError, match="environment x cannot be locked: error: no route to host") as caught:
        lock.run_uv("pip", what="environment x cannot be locked")
    assert not isinstance(caught.value, InputError)
