"""Pools of task slots. Steps are in Airflow's default pool, which an installation makes as large as its machine.

Tasks of the job platform wait for others most of the time: they must neither take the steps' slots nor be kept waiting
by them. `eyewall platform up` and `eyewall platform prepare` make these (`eyewall.platform.airflow.POOLS`).
"""

#: Submissions, and searches, which hold a slot for as long as they go on.
JOBS = "jobs"
#: Dispatchers alone: searches that fill the other pool wait for trials, and those for a dispatcher.
DISPATCH = "dispatch"
