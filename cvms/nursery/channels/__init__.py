"""State and channels that tasks share: what passes, how much is kept, and what happens when full.

| channel | capacity | when full |
|---|---|---|
| `ReconcileQueue`, indexer → reconciler | `MAX_QUEUED_BATCHES` batches | the indexer waits |
| `Wakeup`, any task → one task | one wake-up | further wake-ups merge with it |
| `Hub`, broadcaster → each WebSocket client | set by the client | that client is disconnected |
| `AccountRegistry`, chain → each WebSocket client | one state an account | the older is dropped |

`StatusBoard` and `IndexerProgress` are not channels: tasks write their current
state there, and /ready, the admin API and the alert monitor read it.

Nothing here needs to survive the process: the next one reads everything again from the database.
"""
