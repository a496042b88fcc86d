//! The socket protocol for people: what can be said on a session's socket, and what comes back.
//!
//! Examples stand here as frames. Invariant: they are true, because a test plays them in this order
//! on a real socket.

/// A frame to send, and what comes of it.
pub struct Example {
    /// What it is called.
    pub title: &'static str,
    /// What to know about it.
    pub says: &'static str,
    /// The frame.
    pub send: &'static str,
    /// The frames that come of it, the acknowledgement first.
    pub receive: &'static [&'static str],
}

/// One after the other on one socket of a session that may do everything in company `acme`.
pub const EXAMPLES: &[Example] = &[
    Example {
        title: "Subscribe",
        says: "Events of the stream come from now on, in the order of their offset. A stream is named by `path` or by \
               `streamId`. `msgId` is any string, number, true, false or null, and comes back as it was.",
        send: r#"{"msgId":1,"object":"event","type":"subscribe","path":"/acme/door/1"}"#,
        receive: &[
            r#"{"head":{"msgId":1,"ok":true,"errors":[],"messages":["Your request has been processed successfully."]},"body":{}}"#,
        ],
    },
    Example {
        title: "Publish",
        says: "`value` is an event, or an array of them: all or nothing. `ack` says how safe it is to be before it is \
               answered; `idempotencyKey` and `ifOffsetMatch` are those of the HTTP API. Whoever is subscribed gets a \
               message.",
        send: r#"{"msgId":2,"object":"event","type":"create","path":"/acme/door/1","value":{"elems":{"open":true}}}"#,
        receive: &[
            r#"{"head":{"msgId":2,"ok":true,"errors":[],"messages":["Your request has been processed successfully."]},"body":{"id":"e53b1d1600cf27b7000000001","streamId":"s53b1d1600cf27b75148de0ac","creationDate":1534267781805,"generatedDate":1534267781805,"path":"/acme/door/1","version":0,"elems":{"open":true},"offset":1,"ack":"durable"}}"#,
            r#"{"type":"message","resource":"s53b1d1600cf27b75148de0ac","offset":1,"value":{"id":"e53b1d1600cf27b7000000001","streamId":"s53b1d1600cf27b75148de0ac","path":"/acme/door/1","creatorId":"i53b1d1600cf27b75148de0ac","creationDate":1534267781805,"generatedDate":1534267781805,"elems":{"open":true},"hash":null,"location":null,"tags":{},"version":0}}"#,
        ],
    },
    Example {
        title: "Subscribe to a part",
        says: "`last` replays the newest so many; `filter` chooses; `whenSlow` says what becomes of events that are not \
               read in time: catchUp (all of them come, later), latest (the newest), drop, or disconnect (an end, with \
               code 4003). The acknowledgement tells what was set up.",
        send: r#"{"msgId":3,"object":"event","type":"subscribe","path":"/acme/door/2","last":10,"filter":"elems.open == true","whenSlow":"latest"}"#,
        receive: &[
            r#"{"head":{"msgId":3,"ok":true,"errors":[],"messages":["Your request has been processed successfully."]},"body":{"streams":[{"id":"s53b1d1600cf27b75148de0ad","path":"/acme/door/2","epoch":"k3x9a0bc","offset":0,"state":"complete","missing":0}]}}"#,
        ],
    },
    Example {
        title: "Resume",
        says: "`since` is what was seen last: an offset, better `{\"epoch\":…,\"offset\":…}`, or `{\"time\":…}` in \
               milliseconds since 1970. Everything after it is replayed. What is gone is told by a gap: here the stream \
               keeps one event and had three. Its reason is retention, slow or epoch.",
        send: r#"{"msgId":4,"object":"event","type":"subscribe","path":"/acme/door/3","since":0}"#,
        receive: &[
            r#"{"head":{"msgId":4,"ok":true,"errors":[],"messages":["Your request has been processed successfully."]},"body":{"streams":[{"id":"s53b1d1600cf27b75148de0ae","path":"/acme/door/3","epoch":"k3x9a0bc","offset":0,"state":"gap","missing":2}]}}"#,
            r#"{"type":"gap","head":{"msgId":null,"ok":true,"errors":[],"messages":["2 events were not delivered"]},"body":{"resource":"s53b1d1600cf27b75148de0ae","from":1,"to":2,"count":2,"reason":"retention"}}"#,
            r#"{"type":"message","resource":"s53b1d1600cf27b75148de0ae","offset":3,"value":{"id":"e53b1d1600cf27b7000000003","streamId":"s53b1d1600cf27b75148de0ae","path":"/acme/door/3","creatorId":"i53b1d1600cf27b75148de0ac","creationDate":1534267781805,"generatedDate":1534267781805,"elems":{"open":true},"hash":null,"location":null,"tags":{},"version":0}}"#,
        ],
    },
    Example {
        title: "Find",
        says: "`options` are the query parameters of the HTTP API. `find` and `delete` are about one event, by its `id`. \
               With `\"object\":\"stream\"` there are `create` and `update` too, with a `value`; `id` names the stream.",
        send: r#"{"msgId":7,"object":"event","type":"findmany","path":"/acme/door/1","options":{"filter":"open == true","limit":5}}"#,
        receive: &[
            r#"{"head":{"msgId":7,"ok":true,"errors":[],"messages":["Your request has been processed successfully."]},"body":[{"id":"e53b1d1600cf27b7000000001","streamId":"s53b1d1600cf27b75148de0ac","path":"/acme/door/1","creatorId":"i53b1d1600cf27b75148de0ac","creationDate":1534267781805,"generatedDate":1534267781805,"elems":{"open":true},"hash":null,"location":null,"tags":{},"version":0}]}"#,
        ],
    },
    Example {
        title: "Unsubscribe",
        says: "Nothing of the stream comes after the acknowledgement.",
        send: r#"{"msgId":5,"object":"event","type":"unsubscribe","path":"/acme/door/1"}"#,
        receive: &[
            r#"{"head":{"msgId":5,"ok":true,"errors":[],"messages":["Your request has been processed successfully."]},"body":{}}"#,
        ],
    },
    Example {
        title: "What is refused",
        says: "The head has a status as HTTP has it, one sentence, and a stable code. The socket stays open.",
        send: r#"{"msgId":6,"object":"event","type":"subscribe","path":"/acme/nowhere"}"#,
        receive: &[
            r#"{"head":{"msgId":6,"ok":false,"status":404,"errors":["no stream at /acme/nowhere"],"messages":[],"code":"stream.unknown"},"body":{}}"#,
        ],
    },
    Example {
        title: "Heartbeat",
        says: "A sign of life for clients that cannot ping. It is not answered.",
        send: r#"{"type":"heartbeat"}"#,
        receive: &[],
    },
];
