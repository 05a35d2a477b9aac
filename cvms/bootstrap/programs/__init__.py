"""Deployment and upgrade of programs, through buffers that outlive a broken run."""
