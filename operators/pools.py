"""Pools of task slots. Steps are in Airflow's default pool, which an installation makes as large as its machine.

Tasks of the job platform wait for others most of the time: they must neither take the steps' slots nor be kept waiting
by them. `eyewall platform up` and `eyewall platform prepare` make these (`eyewall.platform.airflow.POOLS`).
"""

#: Submissions, of jobs and of searches.
JOBS = "jobs"
#: Dispatchers alone, which stay for as long as there is work: what waits for them must not keep them away.
DISPATCH = "dispatch"
