"""The log of this process: its lines, its level, and the newest lines for administrators."""
