"""The recorded vectors that every client library is tested with, and their form in JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

import msgspec

from cvms.client import ClientError, Event, SubscriptionRefused
from cvms.client.stream_cursors import StreamCursors, StreamDesynchronized, StreamMessage, Topic
from tests.paths import ROOT

VECTORS = ROOT / "clients" / "vectors"
RECORD = "CVMS_RECORD_VECTORS"
"""If this variable is set, the tests write what they see to the files instead of comparing it."""

Json = dict[str, Any]


def read(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def equals_recorded(name: str, found: Any) -> bool:
    """Return whether the file has `found`."""
    if os.environ.get(RECORD):
        (VECTORS / name).write_text(json.dumps(found, indent=1) + "\n")
    return bool(json.loads(json.dumps(found)) == read(name))


def read_frame(cursors: StreamCursors, frame: str) -> Json:
    """Return the frame with what the client makes of it: a message, an error, or neither."""
    try:
        message = cursors.read(frame)
    except StreamDesynchronized:
        return {"frame": frame, "error": {"kind": "desynchronized"}}
    except SubscriptionRefused as refused:
        error = {"kind": "refused", "topic": refused.topic, "code": refused.code}
        return {"frame": frame, "error": error}
    except ClientError:
        return {"frame": frame, "error": {"kind": "undecodable"}}
    return {"frame": frame, "message": None if message is None else _as_json(message)}


def _as_json(message: StreamMessage) -> Json:
    if isinstance(message, Event):
        built: Json = msgspec.to_builtins(message)
        return built
    return {"type": "snapshot", **asdict(message)}


def topics_of(vector: Json) -> list[Topic]:
    return [Topic(**topic) for topic in vector["topics"]]


def replay(vector: Json) -> Json:
    """Return a stream's vector, with what this client asks for and makes of the frames."""
    cursors = StreamCursors(topics_of(vector))
    connections = [
        {
            "requests": [json.loads(request) for request in cursors.requests()],
            "frames": [read_frame(cursors, step["frame"]) for step in connection["frames"]],
        }
        for connection in vector["connections"]
    ]
    return {**vector, "connections": connections}
