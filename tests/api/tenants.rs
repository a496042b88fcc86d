//! Tenants: another company's stream cannot be told from one that does not exist.
//!
//! Every route and every request of the socket is walked twice, with what another company has and
//! with what nobody has; both answers must be the same, byte for byte and header for header, once
//! the name that was asked for is put aside. Names of both kinds have the same length.

use crate::stage::{Account, Answer, Stage};

/// What another company has, and what nobody has.
struct Names {
    ids: [String; 2],
    paths: [&'static str; 2],
}

const NAMES_IN_REQUESTS: [&str; 3] = ["{id}", "{path}", "{company}"];

impl Names {
    /// The companies of the two paths; of the second there is none.
    const COMPANIES: [&str; 2] = ["umbrella", "nobodies"];

    /// A request about the other company's stream, or about none.
    fn put_into(&self, request: &str, which: usize) -> String {
        let names = [&*self.ids[which], self.paths[which], Self::COMPANIES[which]];
        let pairs = NAMES_IN_REQUESTS.iter().zip(names);
        pairs.fold(request.to_owned(), |request, (place, name)| {
            request.replace(place, name)
        })
    }

    /// The answer without them.
    fn take_out_of(&self, answer: &str, which: usize) -> String {
        let names = [&*self.ids[which], self.paths[which], Self::COMPANIES[which]];
        let pairs = NAMES_IN_REQUESTS.iter().zip(names);
        pairs.fold(answer.to_owned(), |answer, (place, name)| answer.replace(name, place))
    }
}

/// A stage on which albert of umbrella has a stream that alice must not learn of.
async fn stage_with_a_neighbour() -> (Stage, Account, Vec<Names>) {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let theirs = stage.add_stream(&albert, "/umbrella/door/1", 10).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let nobodys = "s000000000000000000000000";
    assert_ne!(theirs, nobodys);
    let names = |missing| Names {
        ids: [theirs.clone(), nobodys.to_owned()],
        paths: ["/umbrella/door/1", missing],
    };
    // A stream that the other company has not, and one of a company that there is not.
    let names = vec![names("/umbrella/gate/1"), names("/nobodies/door/1")];
    (stage, albert, names)
}

fn comparable(answer: &Answer, names: &Names, which: usize) -> (u16, String, String) {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        // Whether the connection stays open depends on how much of the body had come by then.
        .filter(|(name, _)| *name != "date" && *name != "connection")
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    let text = names.take_out_of(&answer.text, which);
    (answer.status, headers.join("\n"), text)
}

/// Asks for both and compares; returns the status that both have.
async fn compare(stage: &Stage, account: &Account, names: &Names, request: [&str; 3]) -> u16 {
    let mut answers = Vec::new();
    for which in 0..2 {
        let [method, address, body] = request.map(|part| names.put_into(part, which));
        let answer = stage.request(&method, &address, Some(account), &body).await;
        answers.push(comparable(&answer, names, which));
    }
    assert_eq!(answers[0], answers[1], "{request:?} tells {:?}", names.paths);
    answers[0].0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_tells_another_companys_stream_from_none() {
    let (stage, _, names) = stage_with_a_neighbour().await;
    let reader = stage
        .add_token(&[("/acme/**", "read"), ("/acme/**", "manage")], None)
        .await;
    let requests = [
        (["GET", "/v5.0/acme/stream/{id}", ""], 404),
        (["GET", "/v5.0/acme/stream?path={path}", ""], 404),
        (["PUT", "/v5.0/acme/stream/{id}", r#"{"capacity":1}"#], 404),
        (["PUT", "/v5.0/acme/stream/{id}", r#"{"path":"{path}"}"#], 404),
        (["PUT", "/v5.0/acme/stream/{id}", r#"{"capacity":9999999}"#], 404),
        (["PUT", "/v5.0/acme/stream/{id}", "not JSON"], 404),
        (["DELETE", "/v5.0/acme/stream/{id}", ""], 404),
        (["POST", "/v5.0/acme/stream", r#"{"path":"{path}"}"#], 403),
        (
            ["POST", "/v5.0/acme/stream", r#"{"path":"{path}","capacity":9999999}"#],
            403,
        ),
        (["POST", "/v5.0/acme/event/{id}", r#"{"elems":{}}"#], 404),
        (["POST", "/v5.0/acme/event/{id}", r#"{"elems":[]}"#], 400),
        (["POST", "/v5.0/acme/event/{id}", r#"[{"elems":{}},{"elems":{}}]"#], 404),
        (["POST", "/v5.0/acme/event", r#"{"path":"{path}","elems":{}}"#], 404),
        (
            [
                "POST",
                "/v5.0/acme/event",
                r#"[{"path":"/acme/door","elems":{}},{"path":"{path}","elems":{}}]"#,
            ],
            404,
        ),
        (["POST", "/session", r#"{"paths":{"{path}":{"read":true}}}"#], 403),
        (["PUT", "/v5.0/acme/event/{id}", ""], 405),
        (["GET", "/v5.0/acme/event/{id}", ""], 404),
        (["GET", "/v5.0/acme/event/{id}?refs=1&limit=0", ""], 404),
        (["GET", "/v5.0/acme/event/{id}?limit=x", ""], 400),
        (["GET", "/v5.0/acme/event?path={path}", ""], 404),
        (["GET", "/v5.0/acme/event/{id}/e000000000000000000000000", ""], 404),
        (["GET", "/v5.0/acme/event/{id}/x", ""], 404),
        (["DELETE", "/v5.0/acme/event/{id}", ""], 404),
        (["DELETE", "/v5.0/acme/event?path={path}", ""], 404),
        (["DELETE", "/v5.0/acme/event/{id}/e000000000000000000000000", ""], 404),
    ];
    for names in &names {
        for (request, status) in requests {
            assert_eq!(
                compare(&stage, &stage.alice, names, request).await,
                status,
                "{request:?}"
            );
            // A restricted token may be refused otherwise, but in one way too.
            compare(&stage, &reader, names, request).await;
        }
    }
    assert_eq!(stage.metric("events_published_total").await, 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_tells_another_company_from_none() {
    let (stage, albert, names) = stage_with_a_neighbour().await;
    let reader = stage.add_token(&[("/acme/**", "read")], None).await;
    let requests = [
        ["GET", "/v5.0/{company}/stream", ""],
        ["POST", "/v5.0/{company}/stream", r#"{"path":"{path}"}"#],
        ["GET", "/v5.0/{company}/stream/{id}", ""],
        ["PUT", "/v5.0/{company}/stream/{id}", "{}"],
        ["DELETE", "/v5.0/{company}/stream/{id}", ""],
        ["POST", "/v5.0/{company}/event", r#"{"path":"{path}","elems":{}}"#],
        ["POST", "/v5.0/{company}/event/{id}", r#"{"elems":{}}"#],
    ];
    // Also who guesses another company's people.
    let posing = |company: &str| Account {
        company: company.to_owned(),
        user: albert.user.clone(),
        ..stage.alice.clone()
    };
    for request in requests {
        for account in [&stage.alice, &reader, &posing("umbrella"), &posing("nobodies")] {
            assert_eq!(compare(&stage, account, &names[1], request).await, 401, "{request:?}");
        }
    }
    let [theirs, nobodys] = ["umbrella", "nobodies"].map(posing);
    let theirs = stage.open_session(&theirs, "").await;
    let nobodys = stage.open_session(&nobodys, "").await;
    assert_eq!(comparable(&theirs, &names[1], 0), comparable(&nobodys, &names[1], 1));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_socket_request_tells_another_companys_stream_from_none() {
    let (stage, albert, names) = stage_with_a_neighbour().await;
    let reader = stage.add_token(&[("/acme/**", "read")], None).await;
    let narrow = r#"{"paths":{"/acme/door":{"read":true}}}"#;
    let narrow = stage.open_session(&stage.alice, narrow).await;
    let narrow = narrow.json()["body"]["id"].as_str().expect("an id").to_owned();
    let mut sockets = vec![
        stage.socket(&stage.alice).await,
        stage.socket(&reader).await,
        stage.connect(&narrow).await,
    ];
    for socket in &mut sockets {
        for kind in ["subscribe", "unsubscribe"] {
            for name in [
                r#""object":"event","streamId":"{id}""#,
                r#""object":"drop","flowId":"{id}""#,
                r#""object":"event","path":"{path}""#,
                r#""object":"event","path":"{path}","streamId":"{id}""#,
                r#""object":"event","path":"{path}","since":0"#,
            ] {
                for names in &names {
                    let request = format!(r#"{{"msgId":1,"type":"{kind}",{name}}}"#);
                    let mut acks = Vec::new();
                    for which in 0..2 {
                        let ack = socket.ask(&names.put_into(&request, which)).await;
                        acks.push(names.take_out_of(&ack, which));
                    }
                    assert_eq!(acks[0], acks[1], "{request} tells {:?}", names.paths);
                }
            }
        }
    }
    // And nothing of what it tried to subscribe to comes.
    assert_eq!(stage.metric("subscriptions").await, 0);
    stage.publish(&albert, "/umbrella/door/1", "{}").await;
    for socket in &mut sockets {
        socket.assert_quiet().await;
    }
    drop(sockets);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_holds_the_own_companys_streams_only() {
    let (stage, albert, _) = stage_with_a_neighbour().await;
    for (account, path) in [(&stage.alice, "/acme/door"), (&albert, "/umbrella/door/1")] {
        let address = format!("/v5.0/{}/stream", account.company);
        let answer = stage.request("GET", &address, Some(account), "").await.json();
        let listed = answer["body"].as_array().expect("an array");
        assert_eq!((listed.len(), &listed[0]["path"]), (1, &path.into()));
    }
    stage.end().await;
}
