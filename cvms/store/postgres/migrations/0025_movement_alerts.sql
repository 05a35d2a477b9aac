-- alerts about many movements of one owner

INSERT INTO alert_positions (source, position)
SELECT 'movements', coalesce(max(id), 0) FROM transactions
ON CONFLICT (source) DO NOTHING;
