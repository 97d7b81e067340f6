"""The job platform: a queue in PostgreSQL, one job to one GPU, hosts that run jobs, dispatchers that watch them."""
