-- index of what was submitted by its message, whichever signature it got
-- expansion

CREATE INDEX IF NOT EXISTS submissions_by_submitted_message
    ON submissions (sha256(substr(wire, 2 + 64 * get_byte(wire, 0))))
    WHERE length(wire) > 0;
