"""Each failure and warning of the checks, made real."""
