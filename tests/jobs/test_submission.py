"""A submission becomes one row as it was meant, or one sentence; from Python and from the command line."""

# NOTE: injected by pytest, defined in conftests: cluster, url, store_url
import json
import sys
from pathlib import Path

import pytest

from eyewall import cli
from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.submission import Submission
from eyewall.jobs import queue

# ---- rows


def test_what_was_asked_for_is_what_the_row_says(cluster):
    job = cluster.submit(
        command=["python", "train.py", "--lr", "0.01"], code="code/x", data=["frames/h9", "s3://bucket/other"], gpus=2,
        generations=["h100", "a100", "h100"], memory_gb=39.99, priority=7, max_hours=0.5, max_attempts=1, name="first",
        variables={"SEED": "7"},
    )  # fmt: skip

    row = cluster.row(
        "SELECT command, code, data, gpus, generations, memory_mb, priority, max_s, max_attempts, name, variables,"
        " owner, state FROM job WHERE id = %s",
        job,
    )

    # 39.99 GiB = 40949.76 MiB: rounded up, as less would not do; half an hour is 1800 s.
    assert row == (
        ["python", "train.py", "--lr", "0.01"], "code/x", ["frames/h9", "s3://bucket/other"], 2, ["a100", "h100"],
        40950, 7, 1800, 1, "first", {"SEED": "7"}, "ann", "queued",
    )  # fmt: skip


@pytest.mark.parametrize(
    "word",
    [
        pytest.param("; rm -rf / #", id="shell"),
        pytest.param("'; DROP TABLE job; --", id="sql"),
        pytest.param("%(job)s %s {}", id="placeholders"),
        pytest.param("\x1b[31m\r\n\t", id="control"),
        pytest.param("--lr=0.01 “typhoon” 台風 🌀", id="unicode"),
        pytest.param('{"a": [1, null]}', id="json"),
        pytest.param("\\ \" ' ` $HOME", id="quotes"),
    ],
)
def test_an_argument_arrives_as_it_was_given(cluster, word):
    cluster.worker("node", gpus=1)
    cluster.submit(command=["python", word], variables={"WORD": word})

    got = cluster.claim()

    assert got.command == ("python", word)
    assert got.variables == {"WORD": word}


# ---- refusals


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        pytest.param({"environment": "torch"}, "no environment 'torch': there are old, tf", id="environment"),
        pytest.param({"gpus": 5}, "5 GPUs on one host are more than any has: the largest has 4", id="gpus"),
        pytest.param(
            {"gpus": 3, "generations": ["h100"]}, "3 such GPUs on one host .* the largest has 2", id="gpus-of-kind"
        ),
        pytest.param(
            {"gpus": 3, "memory_gb": 64}, "3 such GPUs on one host .* the largest has 2", id="gpus-with-memory"
        ),
        pytest.param(
            {"generations": ["v100"]}, "no host has a GPU of generation v100: theirs are a100, h100", id="generation"
        ),
        pytest.param({"memory_gb": 100}, "no GPU has 100 GiB: the largest has 80.0 GiB", id="memory"),
        pytest.param(
            {"memory_gb": 64, "generations": ["a100"]}, "no such GPU has 64 GiB: the largest has 40.0", id="both"
        ),
        pytest.param({"after": [99]}, "no job 99 to come after", id="dependency"),
    ],
)
def test_what_can_never_run_is_refused_with_the_sentence_that_says_why(cluster, fields, sentence):
    cluster.environment("old", "listed")
    cluster.worker("four", gpus=4)
    cluster.worker("two", gpus=2, generation="h100", memory_gb=80)

    with pytest.raises(InputError, match=sentence):
        cluster.submit(**fields)

    assert cluster.one("SELECT count(*) FROM job") == 0


def test_a_host_out_of_reach_counts_and_one_that_was_removed_does_not(cluster):
    cluster.worker("node", gpus=2)
    cluster.worker("large", gpus=4)
    cluster.connection.execute("UPDATE worker SET state = 'unreachable' WHERE name = 'large'")
    cluster.submit(gpus=4)
    cluster.connection.execute("UPDATE worker SET state = 'removed' WHERE name = 'large'")

    with pytest.raises(InputError, match="the largest has 2"):
        cluster.submit(gpus=4)


def test_of_a_cluster_the_largest_node_counts(cluster):
    cluster.nodes("cluster", a=3, b=4)
    cluster.submit(gpus=4)

    with pytest.raises(InputError, match="5 GPUs on one host are more than any has: the largest has 4"):
        cluster.submit(gpus=5)


def test_before_any_host_is_known_nothing_is_refused(cluster):
    job = cluster.submit(gpus=8, generations=["h100"])

    assert cluster.why(job) == "no worker has any GPU: see `eyewall worker add`"


@pytest.mark.parametrize("how", ["failed", "cancelled", "pruned"])
def test_nothing_comes_after_a_job_that_did_not_succeed(cluster, how):
    cluster.worker("node", gpus=1)
    job = cluster.submit()
    if how == "failed":
        cluster.claim()
        cluster.end(job, "failed", 1)
    else:
        queue.ask_to_stop(cluster.connection, job, how, "ann")

    with pytest.raises(InputError, match=f"job {job} .*{how}, so nothing can come after it"):
        cluster.submit(after=[job])


def test_after_a_job_that_has_succeeded_there_is_nothing_to_wait_for(cluster):
    cluster.worker("node", gpus=1)
    job = cluster.submit()
    cluster.claim()
    cluster.end(job)

    assert cluster.state(cluster.submit(after=[job, job])) == "queued"


# ---- keys


def test_the_same_key_again_is_the_same_job_also_after_its_end(cluster):
    cluster.worker("node", gpus=1)
    job = cluster.submit(key="run 7", priority=3)
    cluster.claim()
    cluster.end(job)

    assert cluster.submit(key="run 7", priority=9) == job  # how urgent it is, is not what it is
    assert cluster.one("SELECT count(*) FROM job") == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"command": ["python", "other.py"]}, id="command"),
        pytest.param({"gpus": 2}, id="gpus"),
        pytest.param({"variables": {"LR": "1"}}, id="variables"),
        pytest.param({"owner": "bob"}, id="owner"),
        pytest.param({"after": [1]}, id="after"),
    ],
)
def test_the_same_key_with_other_content_is_refused(cluster, other):
    cluster.worker("node", gpus=2)
    cluster.submit()
    job = cluster.submit(key="run 7")

    (field,) = other
    with pytest.raises(InputError, match=f"key 'run 7' is job {job}'s, submitted with another {field}"):
        cluster.submit(key="run 7", **other)


# ---- the contract


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        pytest.param({"command": []}, "the command is empty", id="no-command"),
        pytest.param({"command": ["a\x00b"]}, "NUL", id="nul"),
        pytest.param({"owner": "a b"}, "owner", id="owner"),
        pytest.param({"environment": "../x"}, "environment", id="environment"),
        pytest.param({"code": "/etc"}, "no path inside the store", id="absolute"),
        pytest.param({"data": ["a/../../b"]}, "no path inside the store", id="climbing"),
        pytest.param({"variables": {"EYEWALL_DATABASE_URL": "x"}}, "the platform's own", id="reserved"),
        pytest.param({"gpus": 0}, "gpus", id="no-gpu"),
        pytest.param({"priority": 10}, "priority", id="priority"),
        pytest.param({"server": "node"}, "server", id="a-job-names-no-server"),
    ],
)
def test_a_submission_that_breaks_its_contract_names_the_field(fields, sentence):
    with pytest.raises(ContractError, match=sentence):
        Submission.parse({"command": ["true"], "environment": "tf", "owner": "ann"} | fields)


# ---- the command line


@pytest.fixture
def run(url, store_url, tmp_path, monkeypatch, capsys):
    """`eyewall …` in this process, against this test's database and store: exit code, stdout, stderr."""
    Path(store_url, "code", "x").mkdir(parents=True)
    Path(store_url, "code", "x", "train.py").write_text("print(7)\n")
    Path(store_url, "frames").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EYEWALL_DATABASE_URL", url)
    monkeypatch.setenv("EYEWALL_STORE", store_url)
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    monkeypatch.setattr("signal.signal", lambda *_: None)  # main() sets handlers that would outlive the test

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["eyewall", *args])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_job_is_submitted_listed_and_shown(cluster, run):
    cluster.worker("node", gpus=2)
    code, out, _ = run(
        "job", "submit", "--env", "tf", "--code", "code/x", "--data", "frames", "--gpus", "1",
        "--generation", "h100,a100", "--memory-gb", "40", "--priority", "7", "--max-hours", "4", "--set", "LR=a=b",
        "--json", "--", "python", "train.py", "--lr", "0.01", "--json",
    )  # fmt: skip
    job = json.loads(out)["job"]
    after = int(run("job", "submit", "--env", "tf", "--after", str(job), "--", "true")[1])

    listed = json.loads(run("job", "list", "--json")[1])
    shown = json.loads(run("job", "show", str(job), "--json")[1])
    plain = run("job", "list")[1]

    assert code == 0
    assert [(row["id"], row["state"], row["why"]) for row in listed] == [
        (job, "queued", "about to start"), (after, "blocked", f"after job {job} (queued)"),
    ]  # fmt: skip
    assert shown["command"] == ["python", "train.py", "--lr", "0.01", "--json"]
    assert (shown["owner"], shown["priority"], shown["max_s"], shown["variables"]) == ("ann", 7, 14400, ["LR"])
    assert [(event["to_state"], event["actor"]) for event in shown["events"]] == [("queued", "ann")]
    assert "a=b" not in json.dumps(shown)  # a variable's value may be a secret
    assert "python train.py --lr 0.01 --json" in plain
    assert "about to start" in plain


def test_what_is_done_to_a_job_is_told(cluster, run):
    cluster.worker("node", gpus=1)
    job = str(cluster.submit())

    assert run("job", "priority", job, "9")[1] == f"job {job} has priority 9\n"
    assert run("job", "cancel", job, "--reason", "no longer needed")[1] == f"job {job} is cancelled\n"
    assert run("job", "list")[2] == "no job waits or runs; see --all\n"
    assert "no longer needed" in run("job", "list", "--all")[1]
    assert run("job", "requeue", job, "--json")[1] == json.dumps({job: "queued"}) + "\n"
    cluster.claim()
    assert run("job", "cancel", job)[1] == f"job {job} is asked to end\n"
    assert "running, to be cancelled" in run("job", "list")[1]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        pytest.param(["--env", "nonsense", "--", "true"], "no environment 'nonsense'", id="environment"),
        pytest.param(["--env", "tf", "--code", "code/none", "--", "true"], "code 'code/none' is not there", id="code"),
        pytest.param(["--env", "tf", "--data", "none", "--", "true"], "no data 'none' in store", id="data"),
        pytest.param(["--env", "tf", "--code", "file:///etc", "--", "true"], "code 'file:///etc'", id="this-machine"),
        pytest.param(["--env", "tf", "--set", "LR", "--", "true"], "--set 'LR' is not NAME=VALUE", id="variable"),
        pytest.param(["--env", "tf", "--gpus", "three", "--", "true"], "three", id="number"),
        pytest.param(["--env", "tf", "--"], "Missing argument", id="command"),
    ],
)
def test_a_submission_that_is_refused_ends_with_65_and_one_sentence(cluster, run, args, sentence):
    code, out, err = run("job", "submit", *args)

    assert (code, out) == (65, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert cluster.one("SELECT count(*) FROM job") == 0


def test_text_of_other_people_does_not_reach_the_terminal_as_control_characters(cluster, run):
    cluster.submit(command=["python", "\x1b[31m\x9b2J\u202e"])

    out = run("job", "list")[1] + run("job", "show", "1")[1]

    assert not {"\x1b", "\x9b", "\u202e"} & set(out)


def test_workers_and_gpus_are_added_listed_drained_and_removed(cluster, run):
    added = run(
        "worker", "add", "box", "--kind", "process", "--devices", "2", "--generation", "a100", "--memory-gb", "40"
    )
    cluster.submit()
    cluster.claim()
    gpus = json.loads(run("gpu", "list", "--json")[1])
    plain = run("gpu", "list")[1]

    assert added[:2] == (0, "worker box is up, with 2 GPUs\n")
    columns = ("worker", "number", "generation", "memory_mb", "state", "owner")
    assert [tuple(gpu[column] for column in columns) for gpu in gpus] == [
        ("box", 0, "a100", 40960, "busy", "ann"), ("box", 1, "a100", 40960, "free", None),
    ]  # fmt: skip
    assert "busy" in plain
    assert run("worker", "drain", "box", "--reason", "new disk")[1] == "worker box is draining\n"
    (row,) = json.loads(run("worker", "list", "--json")[1])
    assert (row["state"], row["reason"], row["gpus"], row["busy"]) == ("draining", "new disk", 2, 1)
    assert run("worker", "add", "box", "--kind", "process", "--devices", "2")[1] == (
        "worker box is draining, with 2 GPUs: new disk\n"  # another look at it does not offer it again
    )
    code, _, err = run("worker", "remove", "box")
    assert (code, "still runs 1 jobs" in err) == (65, True)
    assert run("worker", "remove", "box", "--lost")[1] == "worker box is removed; 1 attempts are lost with it\n"
    assert json.loads(run("worker", "list", "--json")[1]) == []


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["add", "box", "--kind", "slurm"], id="kind"),
        pytest.param(["add", "../box", "--kind", "process"], id="name"),
        pytest.param(["add", "box\n", "--kind", "process"], id="line-end"),
        pytest.param(["add", "box", "--kind", "docker", "--url", "ftp://box"], id="url"),
        pytest.param(["add", "box", "--kind", "process", "--option", "x"], id="option"),
        pytest.param(["drain", "nobody"], id="unknown"),
        pytest.param(["remove", "nobody"], id="unknown-to-remove"),
    ],
)
def test_a_bad_word_about_workers_is_one_sentence(cluster, run, args):
    code, out, err = run("worker", *args)

    assert (code, out, err.count("\n")) == (65, "", 1)
    assert cluster.one("SELECT count(*) FROM worker") == 0
