"""The runbooks: their pages, and drills in which a fault is made and its page followed."""
