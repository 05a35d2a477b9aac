-- sums of a history from an index alone

-- Each pass over all vaults adds up every history. Its lines are scattered over the table.
DROP INDEX IF EXISTS transactions_of_kind_in_order;
CREATE INDEX transactions_of_kind_in_order
    ON transactions (owner, kind, slot DESC, id DESC) INCLUDE (amount);
