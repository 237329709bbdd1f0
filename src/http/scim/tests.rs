//! PATCH on resources, and the reading of what clients send.

use serde_json::{Map, Value, json};

use super::schema::canonical;
use super::{Kind, number, patch};
use crate::http::error::Refusal;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn resource() -> Map<String, Value> {
    object(json!({
        "schemas": [], "id": "3", "userName": "ann", "active": true,
        "emails": [{ "value": "a@work", "type": "work" }, { "value": "a@home", "type": "home" }],
        "name": { "givenName": "Ann" },
        "members": [{ "value": "7", "display": "x" }, { "value": "8" }],
    }))
}

fn patched(kind: Kind, operations: Value) -> Result<Value, Refusal> {
    let mut resource = resource();
    let sent = object(json!({ "Operations": operations }));
    patch::apply(kind, &mut resource, &sent).map(|()| Value::Object(resource))
}

#[test]
fn operations_do_what_directories_mean_by_them() {
    let user = |operation: Value| patched(Kind::User, json!([operation])).unwrap();
    let group = |operation: Value| patched(Kind::Group, json!([operation])).unwrap();
    // As Entra sends it: raised, with text for a boolean, and without a path.
    assert_eq!(user(json!({"op": "Replace", "path": "active", "value": "False"}))["active"], false);
    assert_eq!(user(json!({"op": "Replace", "value": {"active": false}}))["active"], false);
    let two =
        user(json!({"op": "add", "value": {"name.familyName": "B", "title": "T", "unknown": 1, "id": "3"}}));
    assert_eq!(two["name"], json!({"givenName": "Ann", "familyName": "B"}));
    assert_eq!(two["title"], "T");
    let work = user(json!({"op": "replace", "path": "emails[type eq \"work\"].value", "value": "new@work"}));
    assert_eq!(work["emails"][0], json!({"value": "new@work", "type": "work"}));
    assert_eq!(work["emails"][1]["value"], "a@home");
    let other = user(json!({"op": "add", "path": "emails[type eq \"other\"].value", "value": "o@o"}));
    assert_eq!(other["emails"][2], json!({"type": "other", "value": "o@o"}));
    assert_eq!(
        user(json!({"op": "remove", "path": "emails[type eq \"home\"]"}))["emails"].as_array().unwrap().len(),
        1
    );
    assert_eq!(user(json!({"op": "remove", "path": "name.givenName"}))["name"], json!({}));

    let values = |resource: &Value| -> Vec<String> {
        let members = resource["members"].as_array().into_iter().flatten();
        members.map(|member| member["value"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        values(&group(json!({"op": "add", "path": "members", "value": [{"value": "9"}, {"value": "7"}]}))),
        ["8", "9", "7"]
    );
    assert_eq!(values(&group(json!({"op": "remove", "path": "members[value eq \"7\"]"}))), ["8"]);
    assert_eq!(values(&group(json!({"op": "remove", "path": "members", "value": [{"value": "8"}]}))), ["7"]);
    assert_eq!(values(&group(json!({"op": "remove", "path": "members[value eq \"99\"]"}))), ["7", "8"]);
    assert_eq!(values(&group(json!({"op": "replace", "path": "members", "value": [{"value": "9"}]}))), ["9"]);
    assert_eq!(values(&group(json!({"op": "remove", "path": "members"}))), [] as [&str; 0]);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_kind() {
    for (operation, expected) in [
        // What databricks-sdk sends for `active=False`: never taken for nothing to do.
        (json!({"op": "replace", "path": "active"}), "invalidValue"),
        (json!({"op": "replace", "path": "active", "value": null}), "invalidValue"),
        (json!({"op": "add"}), "invalidValue"),
        (json!({"op": "replace", "value": true}), "invalidValue"),
        (json!({"op": "replace", "path": "active", "value": 0}), "invalidValue"),
        (json!({"op": "replace", "path": "active", "value": "no"}), "invalidValue"),
        (json!({"op": "remove"}), "noTarget"),
        (json!({"op": "remove", "path": "active"}), "mutability"),
        (json!({"op": "replace", "path": "emails[type eq \"x\"].value", "value": "a"}), "noTarget"),
        (json!({"op": "replace", "path": "id", "value": "4"}), "mutability"),
        (json!({"op": "add", "value": {"id": "4"}}), "mutability"),
        (json!({"op": "add", "path": "groups", "value": [{"value": "1"}]}), "mutability"),
        (json!({"op": "add", "path": "password", "value": "p"}), "invalidPath"),
        (json!({"op": "add", "path": "none", "value": "p"}), "invalidPath"),
        (json!({"op": "move", "path": "active", "value": true}), "invalidSyntax"),
        (json!("add"), "invalidSyntax"),
    ] {
        match patched(Kind::User, json!([operation])) {
            Err(Refusal::Scim { kind, .. }) => assert_eq!(kind, expected, "{operation}"),
            other => panic!("{operation}: {other:?}"),
        }
    }
    for operations in [json!([]), json!({}), json!(null)] {
        assert!(patched(Kind::User, operations).is_err());
    }
    let foreign =
        object(json!({"schemas": ["urn:other"], "Operations": [{"op": "remove", "path": "title"}]}));
    assert!(patch::apply(Kind::User, &mut resource(), &foreign).is_err());
}

#[test]
fn what_is_sent_has_one_reading_and_no_password() {
    let read = |value: Value| canonical(Kind::User, &object(value));
    let user = read(json!({
        "USERNAME": "ann", "password": "secret", "unknown": 1, "groups": [{"value": "1"}],
        "emails": "a@b", "roles": ["r"], "nickName": null,
    }))
    .unwrap();
    let expected = json!({"userName": "ann", "emails": [{"value": "a@b"}], "roles": [{"value": "r"}]});
    assert_eq!(Value::Object(user), expected);
    for wrong in [
        json!({"userName": "a", "username": "b"}),
        json!({"userName": ["a"]}),
        json!({"userName": "a\u{7}"}),
        json!({"name": "Ann"}),
        json!({"emails": [7]}),
        json!({"emails": [{"value": {"a": 1}}]}),
        json!({"emails": [{"value": "a", "VALUE": "b"}]}),
        json!({"active": "perhaps"}),
        json!({"roles": vec!["r"; 101]}),
        json!({"title": "t".repeat(1001)}),
    ] {
        assert!(matches!(read(wrong.clone()), Err(Refusal::Scim { kind: "invalidValue", .. })), "{wrong}");
    }
}

#[test]
fn an_id_is_written_in_one_way() {
    assert_eq!(number("7"), Some(7));
    for other in ["", "0", "07", "+7", "-7", "7 ", "7.0", "٧", "99999999999999999999"] {
        assert_eq!(number(other), None, "{other}");
    }
}
