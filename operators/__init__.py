"""A contract becomes a process, a container or a pod; its end becomes a task state. Nothing heavy is imported here."""
