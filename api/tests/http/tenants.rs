//! Every documented route with every kind of token: nobody sees another tenant's numbers.

use api::Scope;
use serde_json::Value;

use crate::support::World;

/// Who asks.
const TOKENS: [(&str, Option<&str>, &[Scope]); 6] = [
    ("no token", None, &[]),
    ("own tenant", Some("t1"), &Scope::ALL),
    ("other tenant", Some("t2"), &Scope::ALL),
    ("all tenants", Some("*"), &Scope::ALL),
    ("no scope", Some("t1"), &[]),
    ("a tenant without anything", Some("nobody"), &Scope::ALL),
];

/// Which tenant is asked for.
const ASKED: [Option<&str>; 3] = [None, Some("t1"), Some("t2")];

fn routes(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let route = |(path, item): (&String, &Value)| (path.clone(), item["get"].clone());
    paths.iter().filter(|(_, item)| item["get"].is_object()).map(route).collect()
}

/// All tenants that an answer names, wherever.
fn tenants(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("tenant", Value::String(tenant)) => found.push(tenant.clone()),
                    ("tenants", Value::Array(all)) => {
                        found.extend(all.iter().map(|t| t.as_str().unwrap().to_owned()));
                    }
                    _ => tenants(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| tenants(value, found)),
        _ => {}
    }
}

/// The status that the rules ask for.
fn expected(operation: &Value, token: Option<&str>, scopes: &[Scope], asked: Option<&str>) -> u16 {
    let needed = operation["security"][0]["bearer"].as_array().unwrap();
    let has = |needed: &Value| scopes.iter().any(|scope| scope.name() == needed);
    match token {
        None => 401,
        Some(_) if !needed.iter().all(has) => 403,
        Some(own) if operation["operationId"] == "sources" && own != "*" => 403,
        // The alert that is asked for is of t1; that of another tenant is none.
        Some(own) if operation["operationId"] == "alert" && !["t1", "*"].contains(&own) => 404,
        Some(own) if asked.is_some_and(|asked| own != "*" && asked != own) => 403,
        // Rows are those of one tenant.
        Some("*") if operation["operationId"] == "explain" && asked.is_none() => 400,
        Some(_) => 200,
    }
}

#[tokio::test]
async fn no_route_shows_a_token_more_than_its_tenant() {
    let world = World::new();
    let document = world.ask("/api/v1/openapi.json", &[]).await.good();
    let routes = routes(&document);
    assert!(routes.len() >= 5, "the document names too few routes");
    let (mut cases, mut seen) = (0, 0);
    for (path, operation) in &routes {
        let takes_tenant = operation["parameters"]
            .as_array()
            .is_some_and(|all| all.iter().any(|parameter| parameter["name"] == "tenant"));
        for (who, token, scopes) in TOKENS {
            for asked in ASKED.into_iter().filter(|asked| takes_tenant || asked.is_none()) {
                let mut target = path.replace("{kpi}", "orders").replace("{id}", "a1");
                if let Some(asked) = asked {
                    target.push_str(&format!("?tenant={asked}"));
                }
                let bearer = token.map(|own| format!("Bearer {}", world.token(own, scopes)));
                let headers: Vec<_> =
                    bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
                let answer = world.ask(&target, &headers).await;
                let status = expected(operation, token, scopes, asked);
                assert_eq!(answer.status.as_u16(), status, "{who} at {target}: {answer:?}");
                cases += 1;
                if status != 200 {
                    answer.problem(status);
                    continue;
                }
                let mut named = Vec::new();
                tenants(&answer.json(), &mut named);
                seen += named.len();
                let allowed = |tenant: &String| match (token, asked) {
                    (Some("*"), None) => true,
                    (Some("*"), Some(asked)) => tenant == asked,
                    (own, _) => Some(tenant.as_str()) == own,
                };
                assert!(named.iter().all(allowed), "{who} at {target} sees {named:?}");
            }
        }
    }
    assert!(cases >= 60 && seen >= 30, "the matrix is empty: {cases} cases, {seen} tenants seen");
}

#[tokio::test]
async fn a_tenant_that_exists_is_refused_like_one_that_does_not() {
    let world = World::new();
    let exists = world.t1("/api/v1/kpis?tenant=t2").await.problem(403);
    let does_not = world.t1("/api/v1/kpis?tenant=t9").await.problem(403);
    assert_eq!(exists.replace("t2", "t9"), does_not);
}
