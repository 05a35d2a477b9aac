-- A statement of all vaults looks for the emergency withdrawals of a day: there are few.
CREATE INDEX IF NOT EXISTS transactions_emergencies ON transactions (slot)
    WHERE kind = 'emergency_withdraw';
