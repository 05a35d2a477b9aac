"""Construction of the tasks of a replica and of the leader, and of the resources they share."""
