"""### Where to cut a network between the sensor and the cloud

1. **train_…**: the CIFAR-10 network with each number of filters at the cut, and squeezed cuts that learn from the
   widest; a retry goes on from the last epoch.
2. **score_…**: each network's accuracy over each wire (float32, float16, int8), head and tail apart.
3. **privacy**: how much of an image a decoder gets back from the features of each cut.
4. **measure_…**: every way of running the model on every link, a limited client and a free server: that network, one of
   ImageNet's size and, where the form names a model and its records, a forecaster of this project. One at a time, as
   they take times; each goes on with the next link after a retry.
5. **report**: Markdown, JSON and plots, of what there is.

Over a link of network namespaces shaped by `tc` where the steps may make them (the backend `process`, as root), else
over a proxy in user space; the report names the one that was used. By hand, or `eyewall split study` without Airflow.
"""

from datetime import timedelta

from airflow.sdk import chain, dag

from eyewall.contracts.split_study import NETWORKS, PRIVACY_CUTS, TAUGHT, TEACHER
from operators import forms
from operators.macros import MACROS
from operators.split_study import OptionalStep
from operators.step import StepOperator, receipt_of

IMAGES = "{{ params.images }}"


@dag(
    dag_id="split_study",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    max_active_tasks=2,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["split"],
    params={
        "images": forms.line("image pack (.npz) of CIFAR-10, a path or URL", 2000),
        "model": forms.path("image or fusion model, or its receipt in the store; empty: no third part"),
        "records": forms.path("the records that it is scored on, or their receipt in the store"),
        "epochs": forms.integer("epochs of every training; empty: each network's own", 1, 10_000),
        "client_cpu": forms.number("the client's share of one core", 0.01, 64),
        "requests": forms.integer("requests of each way on each link", 1, 1000),
        "link": forms.choice("how the link is made; empty: as the machine allows", "namespaces", "proxy"),
    },
    user_defined_macros=MACROS,
    # Of no stream: images and links are the form's, and an installation needs no satellite for this study.
    default_args={
        "stream": None,
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
    },
)
def split_study() -> None:
    """Networks and links to a report."""
    trained = {
        name: StepOperator(
            task_id=f"train_{name}",
            verb="train-network",
            arguments={
                **fields,
                "images": IMAGES,
                "teacher_ref": receipt_of(f"train_{TEACHER}") if name in TAUGHT else "",
                "epochs": f"{{{{ params.epochs or {fields.get('epochs', '')!r} }}}}",
            },
        )
        for name, fields in NETWORKS.items()
    }
    scored = {
        name: StepOperator(
            task_id=f"score_{name}",
            verb="score-network",
            arguments={"images": IMAGES, "network_ref": receipt_of(f"train_{name}")},
        )
        for name in NETWORKS
    }
    privacy = StepOperator(
        task_id="privacy",
        verb="measure-privacy",
        arguments={"images": IMAGES, "network_ref": receipt_of(f"train_{TEACHER}"), "cuts": list(PRIVACY_CUTS)},
    )
    link = {field: f"{{{{ params.{field} }}}}" for field in ("client_cpu", "requests", "link")}
    cifar10 = StepOperator(
        task_id="measure_cifar10", verb="measure-split", arguments={"part": "cifar10", "images": IMAGES, **link}
    )
    caffenet = StepOperator(
        task_id="measure_caffenet", verb="measure-split", arguments={"part": "caffenet", "batch": 1, **link}
    )
    typhoon = OptionalStep(
        task_id="measure_typhoon",
        verb="measure-split",
        needed=("model_ref", "records_ref"),
        arguments={
            "part": "typhoon",
            "batch": 1,
            "model_ref": "{{ params.model }}",
            "records_ref": "{{ params.records }}",
            **link,
        },
    )
    report = StepOperator(
        task_id="report",
        verb="split-study",
        trigger_rule="none_failed_min_one_success",  # the third part may be skipped
        arguments={
            "measurement_refs": [
                receipt_of("measure_cifar10"),
                receipt_of("measure_caffenet"),
                f"{{% if params.model and params.records %}}{receipt_of('measure_typhoon')}{{% endif %}}",
            ],
            "score_refs": [*(receipt_of(f"score_{name}") for name in NETWORKS), receipt_of("privacy")],
        },
    )
    for name in NETWORKS:
        chain(trained[name], scored[name], cifar10)
        if name in TAUGHT:
            trained[TEACHER] >> trained[name]
    chain(trained[TEACHER], privacy, cifar10, caffenet, typhoon, report)
    caffenet >> report


split_study()
