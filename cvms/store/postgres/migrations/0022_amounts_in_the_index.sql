-- sums of a history from an index alone

-- Each pass over all vaults adds up every history. Its lines are scattered over the table.
-- The old index is dropped last: from then on not even reads get by until the end.
CREATE INDEX transactions_of_kind_with_amounts
    ON transactions (owner, kind, slot DESC, id DESC) INCLUDE (amount);
DROP INDEX IF EXISTS transactions_of_kind_in_order;
ALTER INDEX transactions_of_kind_with_amounts RENAME TO transactions_of_kind_in_order;
