"""Tasks that run on a schedule: retention, snapshots, timelocks, totals, yield."""
