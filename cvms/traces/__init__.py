"""Traces: from a request to its transaction, the events that are indexed of it, and the frames.

Without a collector nothing is recorded, and OpenTelemetry is not imported.
"""
