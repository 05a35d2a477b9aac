-- the signature under which a submission's message landed, if the fee payer has signed it twice

ALTER TABLE submissions ADD COLUMN IF NOT EXISTS landed_signature TEXT;
