-- the used steps of second factors, one by one, and a row to find out whether writes succeed

ALTER TABLE twofa ADD COLUMN IF NOT EXISTS used_steps BIGINT[] NOT NULL DEFAULT '{}';
-- Any step before the last one may have been used: with a full list none of them is valid again.
-- That would block who used the last one while the clock was ahead.
UPDATE twofa
SET used_steps = CASE
    WHEN last_step > extract(epoch FROM now()) / 30 + 1 THEN ARRAY[last_step]
    ELSE ARRAY(SELECT generate_series(last_step - 99, last_step))
END
WHERE enabled_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS write_probe (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    written_at TIMESTAMPTZ NOT NULL
);
INSERT INTO write_probe (written_at)
    VALUES ('epoch') ON CONFLICT DO NOTHING;
