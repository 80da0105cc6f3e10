//! The description of the API: committed, current, and true of what is answered.

use std::path::Path;

use serde_json::Value;

use crate::support::World;

/// Fields that are there when they are asked for.
const ASKED: [&str; 7] =
    ["previous", "change", "change_ratio", "others", "parts", "adds_up", "planned"];

/// Set this to write the document anew instead of comparing it.
const BLESS: &str = "WEIR_BLESS";

async fn document(world: &World) -> Value {
    world.ask("/api/v1/openapi.json", &[]).await.good()
}

#[tokio::test]
async fn the_committed_document_is_the_one_that_is_served() {
    let served = World::new().ask("/api/v1/openapi.json", &[]).await.text;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/contracts/openapi.json");
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == served,
        "schemas/contracts/openapi.json is not what the routes say; write it anew with `./dev bless`, \
         and look at the difference"
    );
    assert!(served.contains("\"openapi\": \"3.1"), "{served}");
}

/// Whether a value is what a schema says: types, required and unknown fields, words, patterns of
/// decimals. Panics with the place if not.
fn check(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        let target = &document["components"]["schemas"][name];
        assert!(target.is_object(), "{place}: there is no schema {name}");
        return check(document, target, value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let is_null = |choice: &&Value| choice["type"] == "null";
        if value.is_null() && choices.iter().any(|choice| is_null(&choice)) {
            return;
        }
        let other = choices.iter().find(|choice| !is_null(choice)).unwrap();
        return check(document, other, value, place);
    }
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(all) => all.iter().map(|one| one.as_str().unwrap()).collect(),
        _ => panic!("{place}: a schema without a type: {schema}"),
    };
    assert!(types.contains(&found), "{place}: {value} is not {types:?}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(value.is_null() || words.contains(value), "{place}: {value} is none of {words:?}");
    }
    match value {
        Value::Array(values) => {
            values.iter().for_each(|value| check(document, &schema["items"], value, place));
        }
        Value::Object(fields) => {
            let known = schema["properties"].as_object();
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(name.as_str().unwrap()), "{place}: {name} is missing");
            }
            for (name, value) in fields {
                let place = format!("{place}.{name}");
                let own = known.and_then(|known| known.get(name));
                let own = own.unwrap_or(&schema["additionalProperties"]);
                assert!(own.is_object(), "{place} is not in the document");
                check(document, own, value, &place);
            }
            // A field that is never left out must be documented as such.
            for name in known.into_iter().flatten().map(|(name, _)| name) {
                let is_optional =
                    ["parameter", "period_end"].contains(&&**name) || ASKED.contains(&&**name);
                assert!(fields.contains_key(name) || is_optional, "{place}: no {name}");
            }
        }
        Value::String(text) if schema["pattern"].is_string() => {
            assert_eq!(schema["pattern"], r"^-?[0-9]+(\.[0-9]+)?$", "{place}");
            assert!(
                text.bytes().all(|b| matches!(b, b'-' | b'.' | b'0'..=b'9')),
                "{place}: {text}"
            );
        }
        _ => {}
    }
}

#[tokio::test]
async fn answers_are_what_the_document_says() {
    let world = World::new();
    *world.provenance.answer.lock() = Ok(crate::explain::told());
    let document = document(&world).await;
    let schema = |path: &str, status: &str, kind: &str| {
        let response = &document["paths"][path]["get"]["responses"][status];
        let schema = response["content"][kind]["schema"].clone();
        assert!(schema.is_object(), "{path} has no {status} of {kind}");
        schema
    };
    for (path, query) in [
        ("/api/v1/kpis", "?from=2026-01-01"),
        ("/api/v1/kpis", "?from=2026-01-01&compare=previous"),
        ("/api/v1/kpis", "?as_of=2026-11-20"),
        ("/api/v1/kpis/{kpi}/series", ""),
        ("/api/v1/kpis/{kpi}/series", "?compare=year"),
        ("/api/v1/kpis/{kpi}/forecast", ""),
        ("/api/v1/kpis/{kpi}/explain", "?tenant=t1"),
        ("/api/v1/alerts", "?state=all"),
        ("/api/v1/alerts/{id}", ""),
        ("/api/v1/mutes", ""),
        ("/api/v1/meta", ""),
        ("/api/v1/status", ""),
    ] {
        let target =
            format!("{}{query}", path.replace("{kpi}", "revenue_booked").replace("{id}", "a1"));
        let answer = world.all(&target).await.good();
        check(&document, &schema(path, "200", "application/json"), &answer, path);
        let problem = "application/problem+json";
        for status in ["400", "401", "403", "404", "414", "429", "431", "503"] {
            schema(path, status, problem);
        }
        let separator = if query.is_empty() { '?' } else { '&' };
        let wrong = world.all(&format!("{target}{separator}wrong=1")).await;
        wrong.problem(400);
        check(&document, &schema(path, "400", problem), &wrong.json(), path);
    }
}

#[tokio::test]
async fn every_route_that_needs_a_token_says_so() {
    let world = World::new();
    let document = document(&world).await;
    let bearer = &document["components"]["securitySchemes"]["bearer"];
    assert_eq!((&bearer["type"], &bearer["scheme"]), (&"http".into(), &"bearer".into()));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scopes = operation["security"][0]["bearer"].as_array().unwrap();
            let is_read = scopes.iter().all(|scope| scope.as_str().unwrap().ends_with(":read"));
            assert!(["get", "post", "delete"].contains(&method.as_str()), "{method} {path}");
            // A question with a body keeps nothing.
            let asks = method == "get" || path == "/api/v1/anomalies/score";
            assert_eq!(is_read, asks, "{method} {path}: {scopes:?}");
        }
    }
}
