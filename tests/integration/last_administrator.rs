//! Whatever is asked, in whatever order and at whatever moment: somebody can still administer, with a token.
//!
//! The calls are made by administrators, who may do all of it; what stands between them and a locked gateway
//! is the store alone. A token that is the last by which an administrator can call is not revoked.

use serde_json::{Value, json};
use tracegate::access::{Privilege, Securable};
use tracegate::store::TokenKind;

use crate::support::callers::Who;
use crate::support::directory::{SCIM, principal};
use crate::support::gateway::Gateway;
use crate::support::raw_http::{Answer, Request};

const PEOPLE: [&str; 4] = ["user:admin", "user:ann", "user:bob", "service_principal:bot"];
const GROUPS: [&str; 3] = ["group:admins", "group:ops", "group:inner"];
const OWN: &str = "/api/tracegate/v1";

/// Every door that can change who administers. One that is added to the gateway is added here: of MLflow's own
/// accounts, `users/update-admin`, `users/delete` and what `roles/*` take away.
const DOORS: [&str; 28] = [
    "own.active",
    "own.delete_person",
    "own.delete_group",
    "own.create",
    "own.join",
    "own.leave",
    "own.nest",
    "own.unnest",
    "own.grant",
    "own.deny_everything",
    "own.token",
    "own.revoke",
    "own.revoke_caller",
    "policy.apply",
    "scim.put_user",
    "scim.patch_user",
    "scim.delete_user",
    "scim.put_group",
    "scim.patch_group",
    "scim.delete_group",
    "permissions.workspace",
    "permissions.tokens",
    "mlflow.update_admin",
    "mlflow.delete_user",
    "mlflow.assign",
    "mlflow.unassign",
    "mlflow.rename_role",
    "mlflow.delete_role",
];

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }
}

struct World {
    gateway: Gateway,
    /// Whose token it is, its id and its secret.
    tokens: Vec<(String, String, String)>,
    dice: Dice,
}

impl World {
    async fn start(seed: u64) -> Self {
        let gateway = Gateway::start().await;
        let mut world = Self { gateway, tokens: Vec::new(), dice: Dice(seed) };
        let first = world.gateway.token(Who::Admin).to_owned();
        let id = world
            .gateway
            .app
            .store
            .tokens(Some(&principal("user:admin")), TokenKind::Personal)
            .await
            .unwrap()[0]
            .id
            .clone();
        world.tokens.push(("user:admin".to_owned(), id, first));
        for who in &PEOPLE[1..] {
            let secret = world.gateway.newcomer(who).await;
            let made =
                world.gateway.app.store.tokens(Some(&principal(who)), TokenKind::Personal).await.unwrap();
            world.tokens.push(((*who).to_owned(), made[0].id.clone(), secret));
        }
        for (group, member) in
            [("group:admins", "group:ops"), ("group:ops", "group:inner"), ("group:inner", "user:ann")]
        {
            world
                .gateway
                .app
                .store
                .add_member(&principal(group), &principal(member), "test", world.now())
                .await
                .unwrap();
        }
        world.gateway.app.reload_policy().await.unwrap();
        world
    }

    fn now(&self) -> tracegate::clock::UnixMillis {
        self.gateway.app.clock.now()
    }

    /// Keeps a token that was made by a call.
    fn learn(&mut self, answer: &Answer) {
        if answer.status == 200
            && let Ok(Value::Object(made)) = serde_json::from_slice(&answer.body)
            && let (Some(secret), Some(record)) =
                (made.get("token").and_then(Value::as_str), made.get("record"))
        {
            let text = |key: &str| record[key].as_str().unwrap().to_owned();
            self.tokens.push((text("principal"), text("id"), secret.to_owned()));
        }
    }

    /// The tokens by which an administrator can call now, as the gateway itself says.
    async fn working(&self) -> Vec<(String, String)> {
        let mut working = Vec::new();
        for (whose, _, secret) in &self.tokens {
            let answer = self.gateway.with_token(secret, Request::get(&format!("{OWN}/whoami"))).await;
            if answer.status == 200 && answer.json()["administrator"] == true {
                working.push((whose.clone(), secret.clone()));
            }
        }
        working
    }

    async fn id(&self, name: &str) -> String {
        let entry = self.gateway.app.store.directory_of(&principal(name)).await.unwrap();
        entry.map_or_else(|| "999999".to_owned(), |entry| entry.number.to_string())
    }

    async fn request(&mut self, door: &str) -> Request {
        let (person, group) = (self.dice.of(&PEOPLE), self.dice.of(&GROUPS));
        let other = self.dice.of(&GROUPS);
        let (kind, name) = person.split_once(':').unwrap();
        let resources = if kind == "user" { "Users" } else { "ServicePrincipals" };
        let user = format!("{SCIM}/{resources}/{}", self.id(person).await);
        let group_path = format!("{SCIM}/Groups/{}", self.id(group).await);
        let member = json!({ "value": self.id(person).await });
        let nothing = json!({});
        let coin = self.dice.roll(2) == 0;
        match door {
            "own.active" => {
                Request::json("PUT", &format!("{OWN}/principals/{person}/active"), &json!({ "active": coin }))
            }
            "own.delete_person" => Request::new("DELETE", &format!("{OWN}/principals/{person}")),
            "own.delete_group" => Request::new("DELETE", &format!("{OWN}/principals/{group}")),
            "own.create" => Request::post(
                &format!("{OWN}/principals"),
                &json!({ "principal": if coin { person } else { group } }),
            ),
            "own.join" => Request::json("PUT", &format!("{OWN}/groups/{group}/members/{person}"), &nothing),
            "own.leave" => Request::new("DELETE", &format!("{OWN}/groups/{group}/members/{person}")),
            "own.nest" => Request::json("PUT", &format!("{OWN}/groups/{group}/members/{other}"), &nothing),
            "own.unnest" => Request::new("DELETE", &format!("{OWN}/groups/{group}/members/{other}")),
            "own.grant" | "own.deny_everything" => {
                let grant = json!({
                    "principal": if coin { person } else { group }, "securable": "workspace:default",
                    "privilege": "ALL", "effect": if door == "own.grant" { "allow" } else { "deny" },
                });
                Request::post(&format!("{OWN}/grants"), &grant)
            }
            "own.token" => Request::post(&format!("{OWN}/tokens"), &json!({ "principal": person })),
            "own.revoke" => {
                let place = self.dice.roll(self.tokens.len());
                Request::new("DELETE", &format!("{OWN}/tokens/{}", self.tokens[place].1))
            }
            "own.revoke_caller" => {
                let (whose, secret) = self.working().await.remove(0);
                let id = &self.tokens.iter().find(|token| token.0 == whose && token.2 == secret).unwrap().1;
                Request::new("DELETE", &format!("{OWN}/tokens/{id}"))
            }
            "policy.apply" => {
                let members = if coin { vec![] } else { vec![person] };
                let policy = json!({ "groups": [{ "group": group, "members": members }] });
                Request::post(&format!("{OWN}/policy/apply"), &json!({ "policy": policy }))
            }
            "scim.put_user" => {
                let key = if kind == "user" { "userName" } else { "applicationId" };
                Request::json("PUT", &user, &json!({ key: name, "active": coin }))
            }
            "scim.patch_user" => {
                let operation = json!({ "op": "replace", "path": "active", "value": coin });
                Request::json("PATCH", &user, &json!({ "Operations": [operation] }))
            }
            "scim.delete_user" => Request::new("DELETE", &user),
            "scim.put_group" => {
                let members = if coin { json!([]) } else { json!([member]) };
                Request::json("PUT", &group_path, &json!({ "members": members }))
            }
            "scim.patch_group" => {
                let id = &member["value"];
                let operation = match self.dice.roll(4) {
                    0 => json!({ "op": "add", "path": "members", "value": [member] }),
                    1 => json!({ "op": "remove", "path": format!("members[value eq {id}]") }),
                    2 => json!({ "op": "remove", "path": "members" }),
                    _ => json!({ "op": "replace", "path": "members", "value": [member] }),
                };
                Request::json("PATCH", &group_path, &json!({ "Operations": [operation] }))
            }
            "scim.delete_group" => Request::new("DELETE", &group_path),
            "permissions.workspace" | "permissions.tokens" => {
                let (path, level) = match door {
                    "permissions.tokens" => ("authorization/tokens", "CAN_USE"),
                    _ => ("directories/0", "CAN_READ"),
                };
                let list =
                    json!({ "access_control_list": [{ "group_name": "users", "permission_level": level }] });
                Request::json("PUT", &format!("/api/2.0/permissions/{path}"), &list)
            }
            "mlflow.update_admin" => {
                let body = json!({ "username": name, "is_admin": coin });
                Request::json("PATCH", "/api/2.0/mlflow/users/update-admin", &body)
            }
            "mlflow.delete_user" => {
                Request::json("DELETE", "/api/2.0/mlflow/users/delete", &json!({ "username": name }))
            }
            "mlflow.assign" | "mlflow.unassign" => {
                let role: i64 = self.id(group).await.parse().unwrap();
                let body = json!({ "username": name, "role_id": role });
                match door {
                    "mlflow.assign" => Request::json("POST", "/api/3.0/mlflow/roles/assign", &body),
                    _ => Request::json("DELETE", "/api/3.0/mlflow/roles/unassign", &body),
                }
            }
            "mlflow.rename_role" | "mlflow.delete_role" => {
                let role: i64 = self.id(group).await.parse().unwrap();
                match door {
                    "mlflow.delete_role" => {
                        Request::json("DELETE", "/api/3.0/mlflow/roles/delete", &json!({ "role_id": role }))
                    }
                    _ => {
                        let body = json!({ "role_id": role, "name": other.strip_prefix("group:").unwrap() });
                        Request::json("PATCH", "/api/3.0/mlflow/roles/update", &body)
                    }
                }
            }
            other => panic!("{other} is no door"),
        }
    }

    /// Somebody can call, and may govern policy.
    async fn check(&self, told: &str) {
        let working = self.working().await;
        assert!(!working.is_empty(), "nobody can administer after {told}");
        let view = self.gateway.app.policy.view().unwrap();
        for (whose, _) in &working {
            let whose = principal(whose);
            let governs =
                view.snapshot().allows(&whose, &Securable::workspace(), Privilege::PolicyManage, self.now());
            assert!(governs, "{whose} cannot govern after {told}");
        }
    }
}

fn kept_the_last(answer: &Answer) -> bool {
    answer.status == 400
        && (answer.text().contains("last administrator") || answer.text().contains("no administrator"))
}

async fn wander(seed: u64, steps: usize) -> (usize, usize) {
    let mut world = World::start(seed).await;
    let (mut done, mut kept) = (0, 0);
    for step in 0..steps {
        let mut requests = Vec::new();
        // Every third time two calls at once.
        for _ in 0..=usize::from(step % 3 == 2) {
            let door = DOORS[world.dice.roll(DOORS.len())];
            requests.push((door, world.request(door).await));
        }
        let working = world.working().await;
        let told = format!(
            "seed {seed}, step {step}: {:?}",
            requests
                .iter()
                .map(|(door, one)| (door, &one.method, &one.target, String::from_utf8_lossy(&one.body)))
                .collect::<Vec<_>>()
        );
        let calls = requests.into_iter().enumerate().map(|(place, (_, request))| {
            let (_, secret) = &working[place % working.len()];
            world.gateway.with_token(secret, request)
        });
        let answers = futures_util::future::join_all(calls).await;
        for answer in &answers {
            assert!(answer.status < 500, "{told}: {}", answer.text());
            done += usize::from(answer.status < 300);
            kept += usize::from(kept_the_last(answer));
            world.learn(answer);
        }
        world.check(&told).await;
    }
    world.gateway.stop().await;
    (done, kept)
}

#[actix_rt::test]
async fn no_sequence_of_calls_locks_everybody_out() {
    let (mut done, mut kept) = (0, 0);
    for seed in 1..=4 {
        let (more_done, more_kept) = wander(seed, 60).await;
        (done, kept) = (done + more_done, kept + more_kept);
    }
    // Otherwise nothing was tried.
    assert!(done > 60 && kept > 10, "{done} done, {kept} refused for the last administrator's sake");
}

/// Of two administrators each is taken by one of two calls at the same moment, through every pair of doors.
#[actix_rt::test]
async fn of_the_last_two_administrators_two_calls_at_once_take_one() {
    let gateway = Gateway::start().await;
    let store = gateway.app.store.clone();
    let first = gateway.token(Who::Admin).to_owned();
    let ways = 6;
    for round in 0..ways * ways {
        let pair = [format!("user:a{round}"), format!("user:b{round}")];
        let mut secrets = Vec::new();
        let mut ids = Vec::new();
        for name in &pair {
            secrets.push(gateway.newcomer(name).await);
            ids.push(store.tokens(Some(&principal(name)), TokenKind::Personal).await.unwrap()[0].id.clone());
            let join = format!("{OWN}/groups/group:admins/members/{name}");
            let by = if round == 0 { first.clone() } else { secrets[0].clone() };
            store
                .add_member(&principal("group:admins"), &principal(name), "test", gateway.app.clock.now())
                .await
                .unwrap();
            gateway.app.reload_policy().await.unwrap();
            gateway.with_token(&by, Request::json("PUT", &join, &json!({}))).await.expect(200);
        }
        // Those who were left of before go, and the two remain.
        for (group, member) in store.policy().await.unwrap().memberships {
            if group == principal("group:admins") && !pair.contains(&member.to_string()) {
                store.remove_member(&group, &member, "test", gateway.app.clock.now()).await.unwrap();
            }
        }
        gateway.app.reload_policy().await.unwrap();
        let mut requests = Vec::new();
        for (place, way) in [round % ways, round / ways].into_iter().enumerate() {
            let (name, id) = (&pair[place], gateway.id_of(&pair[place]).await);
            let admins = format!("{SCIM}/Groups/{}", gateway.id_of("group:admins").await);
            requests.push(match way {
                0 => Request::json(
                    "PUT",
                    &format!("{OWN}/principals/{name}/active"),
                    &json!({ "active": false }),
                ),
                1 => Request::new("DELETE", &format!("{OWN}/tokens/{}", ids[place])),
                2 => Request::new("DELETE", &format!("{OWN}/groups/group:admins/members/{name}")),
                3 => Request::new("DELETE", &format!("{SCIM}/Users/{id}")),
                4 => {
                    let operation = json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") });
                    Request::json("PATCH", &admins, &json!({ "Operations": [operation] }))
                }
                _ => Request::json("PUT", &format!("{SCIM}/Users/{id}"), &json!({ "active": false })),
            });
        }
        let told = format!("{} {}", requests[0].target, requests[1].target);
        // Each takes itself, so that neither is refused because the other came first.
        let (one, two) = tokio::join!(
            gateway.with_token(&secrets[0], requests.remove(0)),
            gateway.with_token(&secrets[1], requests.remove(0)),
        );
        let taken = [&one, &two].iter().filter(|answer| answer.status < 300).count();
        assert_eq!(taken, 1, "{told}: {} {}", one.text(), two.text());
        let mut left = 0;
        for secret in &secrets {
            let answer = gateway.with_token(secret, Request::get(&format!("{OWN}/whoami"))).await;
            left += usize::from(answer.status == 200 && answer.json()["administrator"] == true);
        }
        assert_eq!(left, 1, "{told}");
    }
    gateway.stop().await;
}
