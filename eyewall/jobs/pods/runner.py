"""The Kubernetes worker: a job as one pod of one namespace; the cluster places it.

No memory and no lock of its own: whatever it must know is in the cluster, in the attempt's permit and its pod
(`eyewall.jobs.pods.manifest`), so that any dispatcher goes on with what another began.

    permit   pod    is
    none     none   absent
    ready    none   created
    ready    there  running, or ended
    started  none   taken away by somebody else: absent, and the permit goes, so that nothing starts by it any more
    ended    none   ended: the code and the sentence stand in the permit, because the pod had to be deleted
"""

import json
import time
from collections.abc import Iterator
from typing import Any

from eyewall.contracts.errors import ContractError, InputError
from eyewall.jobs.inside import demand_inside
from eyewall.jobs.pods import code as pods_code
from eyewall.jobs.pods import manifest as objects
from eyewall.jobs.pods.api import Api
from eyewall.jobs.pods.end import gone, hopeless, keeps, over, seen_of
from eyewall.jobs.pods.keeper import LINE_CHARACTERS
from eyewall.jobs.pods.log import PodLines, whole_lines
from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.pods.out import take_out
from eyewall.jobs.pods.permit import END, KEY, MARK, PARTS, STARTED, STOPPED, part, permit
from eyewall.jobs.pods.probe import declared_slots, slots_of
from eyewall.jobs.runner import Assignment, Found, Seen, Worker, WorkerUnreachable
from eyewall.storage import Store

Object = dict[str, Any]
_LOOK_EVERY_S = 1.0
#: Every pod waits for these for some seconds: no news for the job's log.
_ORDINARY = ("waits (Pending)", "waits (ContainerCreating)", "is handing over")
#: A kubelet may be late by this with ending a pod; beyond it, its node is lost.
_NODE_PATIENCE_S = 120.0


class PodRunner:
    """Acts on one namespace of one cluster."""

    probe_s = 0.0  # a request or two

    def __init__(self, worker: Worker, store: Store) -> None:
        """``store``: as the dispatcher sees it. Raises ContractError for an unusable option."""
        self._worker, self._store = worker, store
        self._options = PodOptions.of(worker.name, worker.options)
        self._api = Api(worker.name, self._options)

    # ---- what there is

    def probe(self) -> list[Found]:
        """The slots: as many as the option ``devices`` says, or one for each GPU of the nodes."""
        if self._options.devices is not None:
            self.answers()
            return declared_slots(self._worker.name, self._options)
        return slots_of(self._api.nodes(), self._api.pods_everywhere(), self._options)

    def answers(self) -> None:
        """Nothing, if the namespace can be looked at."""
        self._api.answers()

    def look(self, assignment: Assignment) -> Seen:
        """The state of the attempt's pod; one that can never start, or has not in time, is taken back first."""
        name = assignment.name
        found = self._api.get("pods", name)
        there = self._own(assignment, found.object)
        if there is None:
            return self._without_pod(assignment)
        notes = self._notes(assignment)
        if END in notes:  # it is to go, and has not yet
            self._delete_pod(assignment, there)
            return _noted(notes) if over(there) else Seen("running", None, "is being taken back")
        seen = seen_of(there, stopped=STOPPED in notes)
        if seen.state == "ended":
            return Seen("running", None, "is handing over its output") if keeps(there, found.now) else seen
        if there["status"].get("phase", "Pending") != "Pending":
            return seen
        events = self._api.events(name)
        if (why := hopeless(there, events, found.now, self._options)) is not None:
            self._take_back(assignment, there, why.exit_code, why.reason)
        return seen_of(there, stopped=STOPPED in notes, events=events)

    def _without_pod(self, assignment: Assignment) -> Seen:
        """The state of an attempt that has no pod, or none any more."""
        name = assignment.name
        own = self._own(assignment, self._api.get("configmaps", name).object)
        if own is None:
            return Seen("absent")
        notes = own["metadata"].get("annotations") or {}
        if END in notes:
            return _noted(notes)
        if PARTS not in notes:
            return Seen("absent")  # whoever made the permit did not get any further
        if STARTED not in notes:
            return Seen("created")
        reason = gone(name, self._api.events(name))
        # From here on nothing starts by this permit, whoever was about to; what did in between is seen now.
        self._api.delete("configmaps", name, own["metadata"]["uid"])
        late = self._own(assignment, self._api.get("pods", name).object)
        return Seen("absent", None, reason) if late is None else seen_of(late)

    # ---- making and starting

    def create(self, assignment: Assignment) -> None:
        """Make the permit, and the parts of the code; nothing runs, and nothing waits in the cluster's queue.

        Raises ContractError or InputError where it can never work: no image, no such code or data, or the API server
        refuses the objects as they are.
        """
        if assignment.image is None:
            raise ContractError(
                f"environment {assignment.environment!r} has no image: eyewall env build {assignment.environment}"
            )
        pods_code.data_places(self._store, self._options, assignment)
        for path in assignment.data:
            if "://" not in path:
                demand_inside(self._store, path, "data")
        parts = self._parts(assignment)
        if self._out_in_store:
            pods_code.open_out(self._store, objects.out_path(assignment))
        own = self._api.make("configmaps", permit(assignment, self._options))
        if own is None:
            own = self._own(assignment, self._api.get("configmaps", assignment.name).object)
        if own is None:
            raise InputError(
                f"namespace {self._options.namespace} has another installation's {assignment.name}: give each"
                " installation a namespace of its own"
            )
        uid, notes = own["metadata"]["uid"], own["metadata"].get("annotations") or {}
        if PARTS in notes:
            return
        for number, data in enumerate(parts):
            self._api.make("configmaps", part(assignment, self._options, uid, number, data))
        self._annotate(assignment, uid, {PARTS: str(len(parts))})

    def start(self, assignment: Assignment) -> None:
        """Make the pod, if the attempt has a permit that was not used yet; harmless in any other state."""
        own = self._own(assignment, self._api.get("configmaps", assignment.name).object)
        notes = (own or {}).get("metadata", {}).get("annotations") or {}
        if own is None or PARTS not in notes or not notes.keys().isdisjoint({STARTED, STOPPED, END}):
            return
        uid = own["metadata"]["uid"]
        data = pods_code.data_places(self._store, self._options, assignment)
        place = objects.Place(int(notes[PARTS]), data, self._out_in_store)
        try:
            made = self._api.make("pods", objects.pod(assignment, self._options, uid, place))
        except InputError as error:
            self._note_end(assignment, uid, error.exit_code, str(error))
            return
        if self._annotate(assignment, uid, {STARTED: "yes"}) is None and made is not None:
            # The permit has gone since: no kubelet starts this pod, and it would be removed with its owner anyway.
            self._api.delete("pods", assignment.name, made["metadata"]["uid"])

    # ---- watching, stopping

    def lines(self, assignment: Assignment) -> Iterator[str]:
        """Lines of the log as they come, after what the pod waits for; connections that end are opened anew."""
        reader, told = PodLines(), "\n"
        while True:
            seen = self.look(assignment)
            if seen.state == "running" and seen.reason and not seen.reason.startswith((told, *_ORDINARY)):
                told = seen.reason
                yield f"[eyewall: the pod {told}]"
            if seen.state in ("absent", "created"):
                return
            began = time.monotonic()
            printed = self._api.log(assignment.name, objects.JOB, follow=True, since=reader.cursor)
            yield from reader.read(printed, whole=seen.state == "ended")
            if seen.state == "ended":  # before the log was read: this was all
                yield from reader.rest()
                return
            if (left := _LOOK_EVERY_S - (time.monotonic() - began)) > 0:
                time.sleep(left)

    def stop(self, assignment: Assignment, grace_s: float) -> None:
        """Delete the pod: SIGTERM, ``grace_s``, SIGKILL; returns when nothing of it runs.

        Its exit code, where its kubelet says one, goes into the permit, as it would go with the pod.
        Raises WorkerUnreachable.
        """
        there = self._own(assignment, self._api.get("pods", assignment.name).object)
        own = self._own(assignment, self._api.get("configmaps", assignment.name).object)
        if there is None:
            if own is not None and STARTED not in (own["metadata"].get("annotations") or {}):
                self._api.delete("configmaps", assignment.name, own["metadata"]["uid"])
            return
        if seen_of(there, stopped=True).state == "ended":
            return
        if own is not None:  # and by this permit no container is started from here on
            self._annotate(assignment, own["metadata"]["uid"], {STOPPED: "yes"}, data={KEY: None})
        end = Seen("ended", None, "stopped")
        self._delete_pod(assignment, there, grace_s)
        for now in self._until_over(assignment, grace_s + _NODE_PATIENCE_S):
            seen = seen_of(now, stopped=True)
            end = seen if seen.state == "ended" else end
        if own is not None:
            self._note_end(assignment, own["metadata"]["uid"], end.exit_code, end.reason)

    def _until_over(self, assignment: Assignment, seconds: float) -> Iterator[Object]:
        """The pod at every change until nothing of it runs. Raises WorkerUnreachable where its node does not end it.

        The pod itself goes later: some kubelets take ten seconds to remove one that has ended.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for now in self._api.watch(assignment.name, left):
                own = self._own(assignment, now)
                if own is None:
                    return
                yield own
                if over(own):
                    return
        raise WorkerUnreachable(
            f"worker {self._worker.name}: pod {assignment.name} is still there {seconds:.0f} s after it was told to go:"
            f" bring its node back, or, once that is surely off, kubectl delete pod {assignment.name} --force"
        )

    # ---- afterwards

    def keep(self, assignment: Assignment) -> None:
        """The output: in the store already where that is the cluster's as well, else from the log of the keeper.

        Raises EyewallError where it is too large for the latter way; StorageError where the store does not answer.
        """
        path = objects.out_path(assignment)
        if self._out_in_store:
            pods_code.close_out(self._store, path)
        elif self._own(assignment, self._api.get("pods", assignment.name).object) is not None:
            printed = self._api.log(assignment.name, objects.KEEPER, follow=False)
            take_out(whole_lines(printed, 2 * LINE_CHARACTERS), self._store, path)

    def remove(self, assignment: Assignment) -> None:
        """Remove the permit, then the pod; the parts of the code go with the permit."""
        own = self._own(assignment, self._api.get("configmaps", assignment.name).object)
        if own is not None:  # first: once the pod's name is free, nothing must start by it
            self._api.delete("configmaps", assignment.name, own["metadata"]["uid"])
        there = self._own(assignment, self._api.get("pods", assignment.name).object)
        if there is not None:
            self._delete_pod(assignment, there)

    # ---- parts of these

    @property
    def _out_in_store(self) -> bool:
        return self._options.store is not None and self._store.is_local

    def _parts(self, assignment: Assignment) -> list[str]:
        """Parts of the code to be sent; none where there is no code or the cluster has it."""
        if assignment.code is None:
            return []
        if self._options.store is not None and "://" not in assignment.code:
            demand_inside(self._store, assignment.code, "code")
            return []
        return pods_code.parts_of(self._store, assignment.code)

    def _own(self, assignment: Assignment, found: Object | None) -> Object | None:
        """``found``, if it is this attempt's and not another installation's of the same name."""
        notes = (found or {}).get("metadata", {}).get("annotations") or {}
        return found if notes.get(MARK) == assignment.mark else None

    def _notes(self, assignment: Assignment) -> Object:
        """Annotations of the attempt's permit; none where it has gone."""
        own = self._own(assignment, self._api.get("configmaps", assignment.name).object)
        return (own or {}).get("metadata", {}).get("annotations") or {}

    def _annotate(self, assignment: Assignment, uid: str, notes: dict[str, str], **more: Any) -> Object | None:
        """Write on the permit of this uid; None when it has gone."""
        body = {"metadata": {"uid": uid, "annotations": notes}, **more}
        return self._api.annotate("configmaps", assignment.name, body)

    def _note_end(self, assignment: Assignment, uid: str, exit_code: int | None, reason: str) -> None:
        """Remember an end whose pod goes; no container is started by this permit any more."""
        note = json.dumps({"exit_code": exit_code, "reason": reason})
        self._annotate(assignment, uid, {END: note}, data={KEY: None})

    def _take_back(self, assignment: Assignment, there: Object, exit_code: int, reason: str) -> None:
        """Delete a pod that has not started; the end is told by `look` once it has gone."""
        own = self._own(assignment, self._api.get("configmaps", assignment.name).object)
        if own is not None:
            self._note_end(assignment, own["metadata"]["uid"], exit_code, reason)
        self._delete_pod(assignment, there)

    def _delete_pod(self, assignment: Assignment, there: Object, grace_s: float | None = None) -> None:
        grace = None if grace_s is None else max(round(grace_s), 1)  # 0 would be by force: its container may go on
        self._api.delete("pods", assignment.name, there["metadata"]["uid"], grace)


def _noted(notes: Object) -> Seen:
    """The end as it was written into the permit."""
    end = json.loads(notes[END])
    return Seen("ended", end["exit_code"], end["reason"])
