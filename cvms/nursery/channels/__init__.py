"""What passes between tasks, each with its bound and with who waits and who drops when it is full.

| channel | bound | when full |
|---|---|---|
| `IndexedBatch`, indexer → reconciler | `INDEXED_QUEUE` batches | the indexer waits |
| `Wake` (submitter, broadcaster, balances, timelocks) | one | a second wake is the same wake |
| `Hub`, broadcaster → each WebSocket client | the client's own | that client is closed |
| `AccountRegistry`, chain → each WebSocket client | an account's newest | the older is dropped |

Nothing of value is held here only: what is lost with the process is read again from the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
