//! What a company says of itself: shown, changed in part, by who manages, with effect at once.

use crate::stage::{Answer, Stage};
use serde_json::{Value, json};

const SETTINGS: &str = "/v5.0/acme/settings";

async fn put(stage: &Stage, body: &Value) -> Answer {
    stage
        .request("PUT", SETTINGS, Some(&stage.alice), &body.to_string())
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_changed_in_part_and_what_is_not_named_stays() {
    let stage = Stage::start().await;
    let mut expected = json!({
        "allowClientSend": false, "allowChannelSubscription": true, "allowChannelAuthorization": false,
        "allowUndeclaredChannels": true, "approvedSocketDomains": [], "allowMetaWithoutKey": false,
    });
    assert_eq!(stage.get(SETTINGS).await, expected);
    for change in [
        json!({"allowClientSend": true}),
        json!({"approvedSocketDomains": ["localhost", "^https://a$"]}),
        json!({"allowMetaWithoutKey": true, "allowClientSend": false}),
        json!({}),
    ] {
        for (name, value) in change.as_object().expect("an object") {
            expected[name] = value.clone();
        }
        let answer = put(&stage, &change).await;
        assert_eq!((answer.status, &answer.json()["body"]), (200, &expected), "{change}");
        assert_eq!(stage.get(SETTINGS).await, expected);
    }
    let audited = stage.audited(4).await;
    assert!(
        audited
            .iter()
            .all(|entry| *entry == ["company.changed", "acme", "alice"]),
        "{audited:?}"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_right_is_refused_with_which_and_why_and_changes_nothing() {
    let stage = Stage::start().await;
    let before = stage.get(SETTINGS).await;
    for (body, says) in [
        (json!({"allowClientSend": 1}), "\"allowClientSend\" is not understood"),
        (
            json!({"allowClientSend": null}),
            "\"allowClientSend\" is not understood",
        ),
        (
            json!({"approvedSocketDomains": "x"}),
            "\"approvedSocketDomains\" is not understood",
        ),
        (json!({"approvedSocketDomains": ["ok", "("]}), "expression 1 of"),
        (json!({"approvedSocketDomains": ["x".repeat(257)]}), "at most 256 bytes"),
        (
            json!({"approvedSocketDomains": vec!["x"; 65]}),
            "at most 64 expressions",
        ),
        (
            json!({"allowClientSend": true, "allowMore": true}),
            "there is no setting of this name",
        ),
        (json!([]), "a JSON object is wanted"),
    ] {
        let answer = put(&stage, &body).await;
        assert_eq!((answer.status, &*answer.code()), (400, "body.malformed"), "{body}");
        let text = answer.json()["head"]["errors"][0].to_string().replace('\\', "");
        assert!(text.contains(says), "{body}: {text}");
    }
    assert_eq!(stage.get(SETTINGS).await, before);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_for_users_who_manage() {
    let stage = Stage::start().await;
    let bob = stage.add_plain_user("bob").await;
    let token = stage.add_token(&[("/acme/**", "manage")], None).await;
    for account in [&bob, &token] {
        for (method, body) in [("GET", ""), ("PUT", "{}")] {
            let answer = stage.request(method, SETTINGS, Some(account), body).await;
            assert_eq!((answer.status, &*answer.code()), (403, "scope.denied"), "{method}");
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_outlive_a_restart_and_are_a_company_each() {
    let mut stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    put(&stage, &json!({"allowClientSend": true})).await;
    stage.restart().await;
    assert_eq!(stage.get(SETTINGS).await["allowClientSend"], true);
    let theirs = stage.request("GET", "/v5.0/umbrella/settings", Some(&albert), "").await;
    assert_eq!(theirs.json()["body"]["allowClientSend"], false);
    stage.end().await;
}
