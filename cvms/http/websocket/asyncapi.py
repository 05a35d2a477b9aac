"""The AsyncAPI 3 document of `/ws`, and GET /asyncapi.json, which shows it.

The topics and the client's frames are those that the service checks; the tests validate what it
really sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import msgspec
from solders.pubkey import Pubkey

from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.response import Response, with_strong_etag
from cvms.http.framework.routing import RouteGroup
from cvms.http.websocket.client_frames import Frame
from cvms.http.websocket.topic_access import GUARDED
from cvms.http.websocket.topic_schemas import SCHEMAS, TopicSchema
from cvms.store.messaging.topics import CONFLATED, Topic

ROUTES = RouteGroup("operation")

Schema = dict[str, Any]
KEY: Schema = {"type": "string", "pattern": "^[1-9A-HJ-NP-Za-km-z]{32,44}$"}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0, "format": "int64"}
OWNER: Schema = {"anyOf": [KEY, {"type": "null"}]}
TOPIC: Schema = {"enum": list(Topic)}
COMMITMENT: Schema = {"enum": ["confirmed", "finalized"]}
ACCOUNT: Schema = {
    "slot": COUNT,
    "lamports": COUNT,
    "owner": KEY,
    "executable": {"type": "boolean"},
    "data": {"type": "string", "contentEncoding": "base64"},
    "truncated": {"type": "boolean"},
}
CREDENTIALS = ("token", "nonce", "signature", "signer", "message")
"""Fields of a subscription to a topic that is not for everybody."""
_REF = "#/components/schemas/{name}"


@ROUTES.get("/asyncapi.json", replies={200: dict[str, Any], 304: None})
async def get_asyncapi_document(deps: Dependencies) -> Response:
    """Get the AsyncAPI document of the WebSocket."""
    return with_strong_etag(asyncapi_document())


def asyncapi_document() -> Schema:
    """Return the document. What `docs/websocket.md` says in prose is not repeated."""
    types = [kind for each in SCHEMAS.values() for kind in (*each.data, *each.snapshot)]
    refs, components = msgspec.json.schema_components(
        [*types, Frame], schema_hook=_schema_of, ref_template=_REF
    )
    fields = components.pop("Frame")["properties"]
    del components["Topic"]
    schemas = dict(zip(types, refs, strict=False))
    sent = _general_frames()
    for topic, about in SCHEMAS.items():
        sent |= _frames_of(topic, about, schemas)
    received = _client_frames(fields)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "CVMS events",
            "version": metadata.version("cvms"),
            "description": "Events of vaults over WebSocket. Each text message is one JSON object.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "ws": {
                "address": "/ws",
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in sent | received
                },
            }
        },
        "operations": {
            "sendFrames": _operation("send", "Frames to the client", sent),
            "receiveFrames": _operation("receive", "Frames from the client", received),
        },
        "components": {"messages": sent | received, "schemas": components},
    }


def _schema_of(kind: type) -> Schema:
    """Return the schema of a type that msgspec does not know."""
    if kind is Pubkey:
        return KEY
    raise NotImplementedError(kind)


def _operation(action: str, title: str, messages: Iterable[str]) -> Schema:
    return {
        "action": action,
        "title": title,
        "channel": {"$ref": "#/channels/ws"},
        "messages": [{"$ref": f"#/channels/ws/messages/{name}"} for name in messages],
    }


def _message(about: str, fields: Schema, *, optional: Schema | None = None) -> Schema:
    payload = {
        "type": "object",
        "properties": fields | (optional or {}),
        "required": list(fields),
    }
    return {"summary": about, "payload": payload}


def _frames_of(topic: Topic, about: TopicSchema, schemas: Mapping[type, Schema]) -> Schema:
    types = ["event"] if topic in CONFLATED else ["event", "retracted"]
    fields = {
        "type": {"enum": types},
        "topic": {"const": topic},
        "seq": COUNT,
        "slot": COUNT,
        "signature": {"type": ["string", "null"]},
        "commitment": COMMITMENT,
        "data": {"anyOf": [schemas[kind] for kind in about.data]},
    }
    subscribed = {
        "type": {"const": "subscribed"},
        "topic": {"const": topic},
        "owner": OWNER,
        "seq": COUNT,
        # Null where the subscription resumes: the missed events follow.
        "snapshot": {"anyOf": [*(schemas[kind] for kind in about.snapshot), {"type": "null"}]},
    }
    answer = f"The answer to a subscription to {topic}."
    return {
        topic.value: _message(f"{about.about}.", fields),
        f"{topic}.subscribed": _message(answer, subscribed),
    }


def _general_frames() -> Schema:
    return {
        "connected": _message(
            "The first frame of a connection.",
            {
                "type": {"const": "connected"},
                "session": TEXT,
                "heartbeat_seconds": {"type": "number", "exclusiveMinimum": 0},
            },
        ),
        "pong": _message("The answer to ping.", {"type": {"const": "pong"}}),
        "reset": _message(
            "The events after `since` cannot all be replayed. The snapshot that follows replaces "
            "what the client knows of the topic.",
            {"type": {"const": "reset"}, "topic": TOPIC, "owner": OWNER},
        ),
        "unsubscribed": _message(
            "The answer to unsubscribe.",
            {"type": {"const": "unsubscribed"}, "topic": TOPIC, "owner": OWNER},
        ),
        "account.subscribed": _message(
            "The state of an account on chain.",
            {
                "type": {"const": "subscribed"},
                "pubkey": KEY,
                "snapshot": {"type": "object", "properties": ACCOUNT, "required": list(ACCOUNT)},
            },
        ),
        "account": _message(
            "A new state of an account on chain.",
            {"type": {"const": "account"}, "pubkey": KEY, **ACCOUNT},
        ),
        "account.stale": _message(
            "The chain does not answer: the account's last state may be out of date.",
            {"type": {"const": "stale"}, "pubkey": KEY, "code": TEXT, "detail": TEXT},
        ),
        "account.unsubscribed": _message(
            "The answer to unsubscribe.", {"type": {"const": "unsubscribed"}, "pubkey": KEY}
        ),
        "error": _message(
            "A refused frame or, with `topic`, a subscription that has ended.",
            {"type": {"const": "error"}, "code": TEXT, "detail": TEXT},
            optional={"topic": TOPIC},
        ),
    }


def _client_frames(fields: Schema) -> Schema:
    owned = {"owner": fields["owner"]}
    frames = {
        "subscribe": _message(
            "Subscribe to a topic, of one owner or of all. The credentials are for "
            f"{', '.join(sorted(GUARDED))}.",
            {"topic": TOPIC},
            optional={
                "op": {"const": "subscribe"},
                **owned,
                "since": fields["since"],
                **{name: _ecmascript(fields[name]) for name in CREDENTIALS},
                "subscribe": {"const": "", "description": "Ignored, as by an earlier service"},
            },
        ),
        "unsubscribe": _message(
            "Unsubscribe from a topic.",
            {"op": {"const": "unsubscribe"}, "topic": TOPIC},
            optional=owned,
        ),
        "ping": _message("Ask for a pong.", {"op": {"const": "ping"}}),
        "account.subscribe": _message("Subscribe to an account on chain.", {"subscribe": KEY}),
        "account.unsubscribe": _message("Unsubscribe from it.", {"unsubscribe": KEY}),
    }
    for frame in frames.values():
        frame["payload"]["additionalProperties"] = False
    return frames


def _ecmascript(schema: Schema) -> Schema:
    """Return the schema with patterns of ECMA-262, which has no `\\Z`."""
    options = [
        {**each, "pattern": each["pattern"].replace(r"\Z", "$")} if "pattern" in each else each
        for each in schema["anyOf"]
    ]
    return {"anyOf": options}
