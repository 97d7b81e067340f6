"""The train step: strategies, launch and supervision of replicas, checkpoints that survive any process."""
