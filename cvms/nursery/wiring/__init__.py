"""Tasks of a replica and of the leader, each built with what it needs."""
