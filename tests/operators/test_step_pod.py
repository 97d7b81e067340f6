"""A step's pod: its name and labels, what it may do and see, and how retries find it."""

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from fake_pods import KUBECONFIG, FakePods, ended
from hypothesis import given
from hypothesis import strategies as st

from eyewall.contracts.settings import Settings
from operators import pod_claim, step_pod
from operators.api_calls import Answer, ApiRefused, send_all
from operators.pod_trigger import PodLog, StepPodTrigger
from operators.step_pod import StepPod, pod_name

LABEL = re.compile(r"^(|[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)$")
NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")


@pytest.fixture(autouse=True)
def kubeconfig(tmp_path, monkeypatch):
    """A cluster that nobody answers for: building a pod needs none."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    return str(path)


@pytest.fixture
def settings(kubeconfig):
    def make(**table):
        return Settings.model_validate({"store": "s3://b/p", "kubernetes": {"config_file": kubeconfig, **table}})

    return make


@pytest.fixture
def api(monkeypatch):
    fake = FakePods()
    monkeypatch.setattr(step_pod, "sender", lambda client: fake)
    monkeypatch.setattr(pod_claim.time, "sleep", lambda seconds: None)
    return fake


def context(run_id="manual__2026-11-21T00:00:00+00:00", **more):
    """What Airflow gives a task."""
    ti = SimpleNamespace(dag_id="retrain", task_id="train", run_id=run_id, map_index=-1, try_number=1, **more)
    return {"ti": ti, "run_id": run_id, "dag": SimpleNamespace(dag_id="retrain")}


def pod_of(settings, verb="gate", **kwargs):
    arguments = {"gate": {"evaluation_ref": "e"}, "train": {"records_ref": "r", "run": "r1"}}[verb]
    return StepPod(settings=settings, job=settings.job(verb, **arguments), task_id="train", **kwargs)


def request_of(settings, verb="gate", **kwargs):
    step = pod_of(settings, verb, **kwargs)
    return step.as_json(step.build_pod_request_obj(context()))


# Names


def test_the_name_is_readable_and_the_same_on_every_try():
    name = pod_name("s3://b/p", "retrain", "manual__2026-11-21T00:00:00+00:00", "train", -1)

    assert name.startswith("retrain-train-")
    assert name == pod_name("s3://b/p", "retrain", "manual__2026-11-21T00:00:00+00:00", "train", -1)


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_any_task_has_a_name_that_is_a_host_name(dag_id, run_id, task_id):
    assert NAME.match(pod_name("s", dag_id, run_id, task_id, -1))


def test_whatever_differs_gives_another_name():
    tasks = [
        ("s", "d", "r", "t", -1), ("s2", "d", "r", "t", -1), ("s", "d2", "r", "t", -1), ("s", "d", "r2", "t", -1),
        ("s", "d", "r", "t2", -1), ("s", "d", "r", "t", 0), ("s", "d", "r", "t", 1), ("s", "D", "r", "t", -1),
    ]  # fmt: skip

    assert len({pod_name(*task) for task in tasks}) == len(tasks)


@pytest.mark.parametrize(
    "run_id",
    [
        pytest.param("manual__2026-11-21T00:00:00.123456+00:00", id="plus and colons"),
        pytest.param("x" * 250, id="long"),
        pytest.param("Läufe/台风 №1", id="no ASCII"),
        pytest.param("---", id="no letter"),
        pytest.param("..evil\n", id="dots and a line break"),
    ],
)
def test_labels_are_valid_for_any_run_id(settings, run_id):
    step = pod_of(settings())
    pod = step.build_pod_request_obj(context(run_id))

    assert {k: v for k, v in pod.metadata.labels.items() if not LABEL.match(v)} == {}
    assert NAME.match(pod.metadata.name)


# What it may do


def test_the_pod_fits_the_restricted_level_of_the_pod_security_standards(settings):
    spec = request_of(settings())["spec"]
    (container,) = spec["containers"]  # one: no sidecar

    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "eyewall-step"
    assert spec["enableServiceLinks"] is False
    assert spec["restartPolicy"] == "Never"


def test_it_runs_the_command_line_of_the_job_by_the_images_entry_point(settings):
    (container,) = request_of(settings())["spec"]["containers"]

    assert container["args"] == ["gate", "--store=s3://b/p", "--evaluation=e", "--json"]
    assert container.get("command") in (None, [])
    assert container["image"] == "eyewall-ingest:0.1.0"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert {"name": "EYEWALL_TERMINATION_LOG", "value": "/dev/termination-log"} in container["env"]


def test_braces_in_a_job_stay_as_they_are(settings):
    own = settings()
    step = StepPod(settings=own, job=own.job("gate", evaluation_ref="{{ var.value.secret }}"), task_id="t")

    assert step.build_pod_request_obj(context()).spec.containers[0].args[2] == "--evaluation={{ var.value.secret }}"


def test_limits_are_requests_and_gpus_bring_their_node_selector(settings):
    table = {
        "resources": {"train": {"cpus": 2.5, "memory": "6Gi", "gpus": 2, "shm": "2Gi"}},
        "gpu_generation": "ampere",
        "node_selector": {"pool": "batch"},
        "tolerations": [{"key": "nvidia.com/gpu"}],
        "priority_class": "eyewall-high",
    }
    spec = request_of(settings(**table), "train")["spec"]

    amounts = {"cpu": "2.5", "memory": "6Gi", "nvidia.com/gpu": "2"}
    assert spec["containers"][0]["resources"] == {"limits": amounts, "requests": amounts}
    assert spec["nodeSelector"] == {"pool": "batch", "eyewall.io/gpu-generation": "ampere"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert spec["priorityClassName"] == "eyewall-high"
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in spec["containers"][0]["env"]  # 2.5 cores, rounded down
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}} in spec["volumes"]


def test_a_step_without_gpus_does_not_wait_for_their_nodes(settings):
    spec = request_of(settings(gpu_generation="ampere"))["spec"]

    assert not spec.get("nodeSelector")
    assert set(spec["containers"][0]["resources"]["limits"]) == {"cpu", "memory"}


def test_mounts_secrets_and_scratch(settings):
    spec = request_of(
        settings(
            mounts=[
                {"source": "claim:eyewall-store", "target": "/store", "read_only": False},
                {"source": "/data/besttrack", "target": "/tracks"},
            ],
            env_secrets=["eyewall-s3"],
        )
    )["spec"]
    (container,) = spec["containers"]

    assert spec["volumes"][2:] == [
        {"name": "mount-0", "persistentVolumeClaim": {"claimName": "eyewall-store"}},
        {"name": "mount-1", "hostPath": {"path": "/data/besttrack", "type": "Directory"}},
    ]
    assert {m["mountPath"]: m.get("readOnly", False) for m in container["volumeMounts"]} == {
        "/tmp": False,
        "/dev/shm": False,
        "/store": False,
        "/tracks": True,
    }
    assert container["envFrom"] == [{"secretRef": {"name": "eyewall-s3"}}]


def test_a_queue_is_named_to_kueue(settings):
    assert "kueue.x-k8s.io/queue-name" not in request_of(settings())["metadata"]["labels"]
    assert request_of(settings(queue="eyewall"))["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "eyewall"
    labels = request_of(settings(queue="eyewall", queue_priority="eyewall-retrain"))["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/priority-class"] == "eyewall-retrain"


def test_the_tasks_timeout_is_the_kubelets_too(settings):
    assert request_of(settings(), execution_timeout=timedelta(hours=2))["spec"]["activeDeadlineSeconds"] == 7200


# How the cluster is found


@pytest.mark.parametrize(
    ("table", "environ", "expected"),
    [
        pytest.param({"config_file": "/k"}, "/other", (None, {"kube_config_path": "/k"}, None), id="the setting"),
        pytest.param({"config_file": None}, "/k", (None, {"kube_config_path": "/k"}, None), id="KUBECONFIG"),
        pytest.param({"config_file": None}, None, (None, {}, True), id="the cluster that Airflow is in"),
        pytest.param({"config_file": None, "conn_id": "c"}, "/k", ("c", None, None), id="a connection"),
    ],
)
def test_task_and_triggerer_find_the_same_cluster(settings, monkeypatch, table, environ, expected):
    if environ is not None:
        monkeypatch.setenv("KUBECONFIG", environ)
    step = pod_of(settings(**table))

    connection = step.trigger_connection()
    assert (connection["conn_id"], connection["connection_extras"], connection["in_cluster"]) == expected
    assert step.hook.conn_id == expected[0]
    assert step.in_cluster is expected[2]


def test_no_credentials_go_through_airflows_database(settings, api):
    with pytest.raises(TaskDeferred) as caught:
        pod_of(settings()).run_pod(context(), None)

    path, kwargs = caught.value.trigger.serialize()
    assert path == "operators.pod_trigger.StepPodTrigger"
    assert kwargs["config_dict"] is None
    assert set(kwargs["connection_extras"]) == {"kube_config_path"}
    assert StepPodTrigger(**kwargs).serialize() == (path, kwargs)


# Tries


def begin(settings, **kwargs):
    """A first call of a try: its deferral."""
    with pytest.raises(TaskDeferred) as caught:
        pod_of(settings, **kwargs).run_pod(context(), None)
    return caught.value


def test_a_second_try_goes_on_with_the_pod_of_the_first(settings, api):
    begin(settings())
    begin(settings())

    assert api.methods() == ["POST", "POST"]
    assert [pod["metadata"]["uid"] for pod in api.pods.values()] == ["uid-1"]


def test_an_answer_that_is_lost_makes_no_second_pod(settings, api):
    api.lose_answer = True
    deferral = begin(settings())

    assert len(api.pods) == 1
    assert deferral.trigger.pod_name in api.pods


def test_an_api_server_that_is_away_is_asked_again(settings, api, monkeypatch):
    monkeypatch.setattr("operators.api_calls.time.sleep", lambda seconds: None)
    api.away = 6
    begin(settings())

    assert len(api.pods) == 1


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        pytest.param(0, '{"decision": "yes"}', (0, {"decision": "yes"}), id="success"),
        pytest.param(65, "bad", (65, {}), id="unusable input"),
        pytest.param(99, "no", (99, {}), id="nothing to do"),
    ],
)
def test_a_verdict_that_nobody_has_read_is_this_trys_end(settings, api, code, message, expected):
    begin(settings())
    (pod,) = api.pods.values()
    pod["status"] = ended(code, message)

    assert pod_of(settings()).run_pod(context(), None)[:2] == expected
    assert api.pods == {}  # and its name is free
    assert api.methods() == ["POST", "POST", "DELETE"]


def test_a_failure_that_nobody_has_read_is_followed_by_a_new_pod(settings, api):
    begin(settings())
    (pod,) = api.pods.values()
    pod["status"] = ended(70, "a replica was lost")
    begin(settings())

    assert [pod["metadata"]["uid"] for pod in api.pods.values()] == ["uid-2"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"images": {"ingest": "eyewall-ingest:0.2.0"}}, id="another image"),
        pytest.param({"job": 7}, id="another argument"),
    ],
)
def test_a_pod_that_runs_something_else_is_replaced(settings, api, change):
    begin(settings())
    changed = settings(**{k: v for k, v in change.items() if k != "job"})
    job = changed.job("gate", evaluation_ref="e", min_cases=change.get("job", 30))
    with pytest.raises(TaskDeferred):
        StepPod(settings=changed, job=job, task_id="train").run_pod(context(), None)

    assert [pod["metadata"]["uid"] for pod in api.pods.values()] == ["uid-2"]


def test_a_pod_that_is_being_deleted_is_waited_for(settings, api):
    begin(settings())
    (pod,) = api.pods.values()
    pod["metadata"]["deletionTimestamp"] = "2026-11-21T07:00:00Z"
    api.linger = 4
    begin(settings())

    assert [pod["metadata"]["uid"] for pod in api.pods.values()] == ["uid-2"]
    assert "DELETE" not in api.methods()  # it was told already, and not by force


def test_the_end_of_a_pod_that_is_being_deleted_is_not_taken_again(settings, api):
    """It was read; whoever cleared the task has perhaps mended its cause."""
    begin(settings())
    (pod,) = api.pods.values()
    pod["status"] = ended(65, "bad")
    pod["metadata"]["deletionTimestamp"] = "2026-11-21T07:00:00Z"
    api.linger = 2
    begin(settings())

    assert [pod["metadata"]["uid"] for pod in api.pods.values()] == ["uid-2"]


def test_a_namespace_that_is_not_there_is_named(settings, api):
    api.no_namespace = True
    outcome = pod_of(settings()).run_pod(context(), None)

    assert outcome.code == 69
    assert outcome.sentence.endswith("namespace eyewall is not there: see kubernetes.namespace")


def test_a_pod_that_does_not_go_is_named_and_the_task_tries_again(settings, api, monkeypatch):
    begin(settings())
    (pod,) = api.pods.values()
    pod["metadata"]["deletionTimestamp"] = "2026-11-21T07:00:00Z"
    pod["spec"]["nodeName"] = "n-7"
    api.linger = 10**6
    seconds = iter(range(0, 10**6, 100))
    monkeypatch.setattr(pod_claim.time, "monotonic", lambda: next(seconds))

    outcome = pod_of(settings()).run_pod(context(), None)
    assert outcome.code == 75
    assert re.search(r"still on node n-7: .* kubectl delete pod retrain-train-\w+ --force", outcome.sentence)


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        pytest.param((403, '{"message": "pods is forbidden: exceeded quota: gpus"}'), 69, id="quota: later, perhaps"),
        pytest.param((422, '{"message": "Pod is invalid: spec.tolerations[0]"}'), 65, id="invalid: never"),
    ],
)
def test_what_the_server_refuses_is_said_in_its_words(settings, api, refusal, code):
    api.refuse = refusal
    outcome = pod_of(settings()).run_pod(context(), None)

    assert outcome.code == code
    assert re.match(r"pod retrain-train-\w+: the API server refuses \(4..\): \w+", outcome.sentence)


def test_a_namespace_that_was_just_made_is_waited_for(settings, api, monkeypatch):
    api.refuse = (403, '{"message": "pods is forbidden: error looking up service account n/eyewall-step: not found"}')

    def later(seconds):
        api.refuse = None

    monkeypatch.setattr(pod_claim.time, "sleep", later)
    begin(settings())

    assert len(api.pods) == 1


# The end


def event(name, outcome=None, status="ended", **more):
    """The trigger's event."""
    return {"name": name, "namespace": "eyewall", "status": status, "outcome": outcome, "message": "", **more}


def test_the_end_that_the_triggerer_saw_counts_and_the_pod_goes_after_its_log_was_read(settings, api):
    name = begin(settings()).trigger.pod_name
    api.log = "2026-11-21T07:00:00.1Z one\n"

    outcome = pod_of(settings()).run_pod(context(), event(name, [137, {}, "used more memory"]))

    assert outcome == (137, {}, "used more memory")
    assert [call.path.rpartition("/")[2] for call in api.calls[-2:]] == ["log", name]
    assert api.methods()[-1] == "DELETE"
    assert api.pods == {}


def test_an_end_counts_even_if_the_pod_was_collected_since(settings, api):
    name = begin(settings()).trigger.pod_name
    api.pods.clear()

    assert pod_of(settings()).run_pod(context(), event(name, [0, {"n": 3}, ""])) == (0, {"n": 3}, "")


def test_a_pod_that_has_the_name_by_now_is_left_alone(settings, api):
    name = begin(settings()).trigger.pod_name

    assert pod_of(settings()).run_pod(context(), event(name, [70, {}, "lost"], uid="uid-0")) == (70, {}, "lost")
    assert name in api.pods  # it is uid-1


def test_an_end_that_is_known_stays_whatever_keeps_its_pod_from_being_removed(settings, api):
    name = begin(settings()).trigger.pod_name

    def refuse(call):
        raise ApiRefused(403, '{"message": "pods is forbidden"}')

    api.delete = refuse
    assert pod_of(settings()).run_pod(context(), event(name, [0, {"n": 3}, ""])) == (0, {"n": 3}, "")


def test_an_api_server_that_stays_away_fails_the_try_and_leaves_the_pod(settings, api, monkeypatch):
    monkeypatch.setattr("operators.api_calls.time.sleep", lambda seconds: None)
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr("operators.api_calls.time.monotonic", lambda: next(hours))
    api.away = 10**6

    outcome = pod_of(settings()).run_pod(context(), None)
    assert outcome.code == 69
    assert outcome.sentence.endswith("is left to the next try: no answer from the API server")


def test_a_triggerer_that_may_not_look_leaves_the_pod_to_the_next_try(settings, api):
    name = begin(settings()).trigger.pod_name
    outcome = pod_of(settings()).run_pod(context(), event(name, status="refused") | {"message": "refused (403)"})

    assert outcome == (69, {}, "refused (403)")
    assert name in api.pods


def test_as_an_operator_of_its_own_it_returns_the_small_summary_or_airflows_exception(settings, api):
    name = begin(settings()).trigger.pod_name

    done = pod_of(settings()).trigger_reentry(context(), event(name, [0, {"n": 3, "reasons": ["x"]}, ""]))
    assert done == {"n": 3}
    with pytest.raises(AirflowFailException, match=r"eyewall gate \(exit 65\): bad"):
        pod_of(settings()).trigger_reentry(context(), event(name, [65, {}, "bad"]))
    with pytest.raises(AirflowSkipException, match=r"^no$"):
        pod_of(settings()).trigger_reentry(context(), event(name, [99, {}, "no"]))


def test_a_kill_deletes_the_pod_by_its_name_before_the_answer_that_it_was_made(settings, api):
    step = pod_of(settings())
    real = api.post

    def killed_meanwhile(call):
        answer = real(call)
        step.on_kill()  # the signal comes while the request is under way
        return answer

    api.post = killed_meanwhile
    with pytest.raises(TaskDeferred):
        step.run_pod(context(), None)

    assert api.pods == {}


def test_a_kill_before_anything_was_asked_does_nothing(settings, api):
    pod_of(settings()).on_kill()

    assert api.calls == []


def test_the_deadline_of_the_try_goes_to_the_triggerer(settings, api):
    began = datetime(2026, 11, 21, 7, tzinfo=UTC)
    with pytest.raises(TaskDeferred) as caught:
        pod_of(settings(), execution_timeout=timedelta(hours=1)).run_pod(context(start_date=began), None)

    # 07:00 + 1 h, whenever the deferral happens
    assert caught.value.trigger.trigger_kwargs["deadline"] == datetime(2026, 11, 21, 8, tzinfo=UTC).timestamp()
    assert caught.value.timeout >= timedelta(seconds=60)


# The log


def test_a_log_that_grows_between_looks_is_said_once_and_whole():
    written = [f"2026-11-21T07:00:0{i // 4}.{i % 4 * 25:02d}Z line {i}" for i in range(12)]
    queries, said, log = [], [], PodLog("n", "p", "base")

    def send(upto):
        def answer(call):
            queries.append(dict(call.query))
            since = dict(call.query).get("sinceTime", "")[:19]  # whole seconds, as the API server does it
            lines = [line for line in written[:upto] if line[:19] >= since]
            return Answer(200, "".join(line + "\n" for line in lines), datetime.now(UTC))

        return answer

    for upto in (3, 3, 7, 12):
        assert send_all(log.read(said.append), send(upto)) is False

    assert said == [f"line {i}" for i in range(12)]
    assert "sinceTime" not in queries[0]
    assert queries[-1]["sinceTime"] == "2026-11-21T07:00:01.50Z"  # line 6


def test_a_log_longer_than_an_answer_comes_in_pieces(monkeypatch):
    monkeypatch.setattr("operators.pod_trigger._LOG_BYTES", 100)
    written = [f"2026-11-21T07:00:{i:02d}.5Z line {i}\n" for i in range(10)]  # 30 bytes each
    said, log = [], PodLog("n", "p", "base")

    def send(call):
        since = dict(call.query).get("sinceTime", "")
        text = "".join(line for line in written if line[:19] >= since[:19])
        return Answer(200, text[:100], datetime.now(UTC))

    while send_all(log.read(said.append), send):
        pass

    assert said == [f"line {i}" for i in range(10)]
