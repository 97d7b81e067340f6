"""A Kubernetes cluster as a worker: an attempt is a pod, and the cluster places it."""
