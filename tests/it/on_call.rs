//! Alerts on their way to people, by every route, over kills: records in files, what receivers were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::Rng;
use schemas::Micros;
use serde_json::{Value, json};

use crate::live::{get, mint, port, ready};
use crate::support::http::{self, request};
use crate::support::receivers::{MailServer, Mood, Webhook};
use crate::support::services::{script, sql};
use crate::support::{Place, Weir, seeded, wait_until};

pub(crate) const DAY: i64 = 86_400_000_000;
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) fn now() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "the records are of today")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// A charge of a tenant for the day that starts at `start`; a version below 10 is of a snapshot.
fn charge(tenant: &str, id: &str, start: i64, cost: &str, version: i64) -> Value {
    let instant = |at: i64| Micros(at).to_string();
    let is_snapshot = version < 10;
    let row = json!({
        "charge_id": id, "tenant_id": tenant, "service_name": "db", "charge_category": "Usage",
        "billed_cost": cost, "effective_cost": cost, "billing_currency": "USD",
        "resource_id": null, "charge_period_start": instant(start),
        "charge_period_end": instant(start + 3_600_000_000), "tags": null,
        "updated_at": instant(now()),
    });
    let source = json!({"connector": "postgresql", "name": "shop", "db": "shop", "schema": "public",
        "table": "costs", "lsn": version, "ts_ms": now() / 1_000, "snapshot": is_snapshot.to_string()});
    let operation = if is_snapshot { "r" } else { "c" };
    json!({"op": operation, "before": null, "after": row, "source": source, "ts_ms": now() / 1_000})
}

/// A shop whose costs come from files.
pub(crate) struct Shop {
    pub(crate) place: Place,
    offset: i64,
}

impl Shop {
    /// Eight days of a hundred a day for each tenant, and these routes.
    pub(crate) fn new(tenants: &[&str], routes: &str) -> Shop {
        Shop::of(tenants, routes, 9, |_| "100")
    }

    /// So many days, today the first, of what each cost by how many days ago it was.
    pub(crate) fn of(
        tenants: &[&str],
        routes: &str,
        count: i64,
        cost: fn(i64) -> &'static str,
    ) -> Shop {
        let place = Place::new();
        place.configure_files(
            "lake.flush_interval = \"100ms\"\nlake.barrier_interval = \"500ms\"\n",
        );
        let file = place.path("weir.toml");
        let configured = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, configured + routes).unwrap();
        let mut shop = Shop { place, offset: 0 };
        let today = now() / DAY * DAY;
        let all = tenants.iter().flat_map(|tenant| {
            (0..count).map(move |day| {
                let id = format!("{tenant}-d{day}");
                charge(tenant, &id, today - day * DAY, cost(day), 1)
            })
        });
        shop.send(&all.collect::<Vec<_>>());
        shop
    }

    fn send(&mut self, changes: &[Value]) {
        let line = |(offset, change): (i64, &Value)| {
            let line = json!({
                "topic": "shop.public.costs", "partition": 0, "offset": offset,
                "timestamp": now() / 1_000, "key": "{}", "value": change.to_string(),
            });
            format!("{line}\n")
        };
        let lines: String = (self.offset..).zip(changes).map(line).collect();
        let path = self.place.path(&format!("input/costs-{:05}.ndjson", self.offset));
        std::fs::write(path, lines).unwrap();
        self.offset += i64::try_from(changes.len()).unwrap();
    }

    /// Forty more today than ever, or nearly none any more.
    pub(crate) fn spike(&mut self, tenant: &str, cost: &str, version: i64) {
        let today = now() / DAY * DAY;
        self.send(&[charge(tenant, &format!("{tenant}-spike"), today, cost, version)]);
    }

    /// Starts, and waits until everything that was there is served.
    pub(crate) fn run(&self) -> (Weir, u16) {
        let mut run = self.place.start(&["run"]);
        let port = port(&mut run);
        ready(port);
        (run, port)
    }

    /// What happened to each notice, by `route id`.
    fn deliveries(&self) -> BTreeMap<String, String> {
        let listed = self.place.succeeds(&["alerts", "list", "--json", "--limit", "1000"]).json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let row = |row: &Value| {
            (format!("{} {}", text(&row["route"]), text(&row["id"])), text(&row["state"]))
        };
        listed.as_array().unwrap().iter().map(row).collect()
    }
}

/// The alerts of the daily costs.
pub(crate) fn alerts(port: u16, token: &str, state: &str) -> Vec<Value> {
    let answer = get(port, &format!("/api/v1/alerts?state={state}"), token);
    let all = answer["alerts"].as_array().unwrap().iter();
    let of_costs = |alert: &&Value| alert["kpi"] == "total_cost" && alert["grain"] == "day";
    all.filter(of_costs).cloned().collect()
}

/// What a webhook was told of alerts of daily costs, in order: kind and alert.
pub(crate) fn told(webhook: &Webhook) -> Vec<(String, String)> {
    let of_costs =
        |body: &Value| body["alert"]["kpi"] == "total_cost" && body["alert"]["grain"] == "day";
    let posts = webhook.posts().into_iter().map(|post| post.body).filter(of_costs);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    posts.map(|body| (text(&body["type"]), text(&body["alert"]["id"]))).collect()
}

/// The receivers of all routes.
struct Receivers {
    webhook: Webhook,
    /// Whom Alertmanager tells.
    behind: Webhook,
    slack: Webhook,
    pager: Webhook,
    mail: MailServer,
    alertmanager: u16,
}

impl Receivers {
    fn start(name: &str) -> Receivers {
        let receivers = Receivers {
            webhook: Webhook::start(),
            behind: Webhook::start(),
            slack: Webhook::start(),
            pager: Webhook::start(),
            mail: MailServer::start(),
            alertmanager: free_port(),
        };
        let port = receivers.alertmanager.to_string();
        script("alertmanager.sh", &["start", name, &port, &receivers.behind.url()]);
        receivers
    }

    /// A route to each of them, to the log, and one of other tenants.
    fn routes(&self) -> String {
        let alertmanager = format!("[\"http://127.0.0.1:{}\"]", self.alertmanager);
        let url = |webhook: &Webhook| format!("\"{}\"", webhook.url());
        let mail = format!(
            "\"smtp://127.0.0.1:{}\"\nfrom = \"weir@weir.example\"\nto = [\"on-call@weir.example\"]",
            self.mail.port
        );
        let others = format!("{}\nmatch = {{ tenant = [\"zeta*\"] }}", url(&self.webhook));
        let pager = format!("{}\nsecret_env = \"PAGER_KEY\"", url(&self.pager));
        let routes = [
            ("hook", "webhook", url(&self.webhook)),
            ("am", "alertmanager", alertmanager),
            ("chat", "slack", url(&self.slack)),
            ("pager", "pagerduty", pager),
            ("mail", "email", mail),
            ("others", "webhook", others),
        ];
        let route = |(name, kind, url): (&str, &str, String)| {
            format!("[[alerts.routes]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = {url}\n")
        };
        let routes: String = routes.into_iter().map(route).collect();
        format!(
            "[alerts]\nheartbeat = \"1s\"\n{routes}[[alerts.routes]]\nname = \"log\"\nkind = \"log\"\n"
        )
    }

    /// What goes on, as Alertmanager has it.
    fn in_alertmanager(&self) -> Vec<Value> {
        let answer =
            crate::support::http::request("GET", self.alertmanager, "/api/v2/alerts", None);
        answer.json().as_array().unwrap().clone()
    }

    /// Everybody hears of the alert as REST has it.
    fn hear_of(&self, alert: &Value) {
        let id = alert["id"].as_str().unwrap();
        assert_eq!(told(&self.webhook), [("alert.opened".to_owned(), id.to_owned())]);
        let is_opened = |body: &Value| body["type"] == "alert.opened" && body["alert"]["id"] == id;
        let post = self.webhook.posts().into_iter().find(|post| is_opened(&post.body)).unwrap();
        assert_eq!(post.headers["webhook-id"], format!("{id}.opened"));
        for field in ["kpi", "tenant", "value", "expected", "severity", "reason", "opened_at"] {
            assert_eq!(post.body["alert"][field], alert[field], "{field}, as REST has it");
        }
        wait_until("Alertmanager tells its receiver", SOON, || {
            self.behind.posts().iter().any(|post| post.body.to_string().contains(id))
        });
        let all = self.in_alertmanager();
        let own = all.iter().find(|alert| alert["labels"]["weir_alert_id"] == id).unwrap();
        let named = ["alertname", "kpi", "tenant", "grain"].map(|name| &own["labels"][name]);
        assert_eq!(named, ["KpiAnomaly", "total_cost", "acme", "day"]);
        assert!(all.iter().any(|alert| alert["labels"]["alertname"] == "WeirAlive"), "{all:?}");
        wait_until("the chat, the pager and the mail are told", SOON, || {
            let has = |posts: &Webhook| !posts.posts().is_empty();
            has(&self.slack) && has(&self.pager) && !self.mail.mails().is_empty()
        });
    }

    /// Everybody hears that it is over.
    fn hear_the_end_of(&self, id: &str) {
        wait_until("the end is told", SOON, || told(&self.webhook).len() >= 2);
        assert_eq!(told(&self.webhook)[1..], [("alert.resolved".to_owned(), id.to_owned())]);
        wait_until("Alertmanager has it as over", SOON, || {
            let all = self.in_alertmanager();
            all.iter().all(|alert| alert["labels"]["weir_alert_id"] != id)
        });
        let pager = |action: &str| {
            let is = |body: &Value| body["event_action"] == action && body["dedup_key"] == id;
            self.pager.posts().iter().any(|post| is(&post.body))
        };
        wait_until("the pager has it as over", SOON, || pager("trigger") && pager("resolve"));
        let is_thread = |mail: &String| mail.contains(&format!("In-Reply-To: <{id}@weir>"));
        wait_until("a mail answers the first", SOON, || self.mail.mails().iter().any(is_thread));
    }
}

#[test]
fn every_route_is_told_of_an_alert_and_of_its_end() {
    let name = format!("it-{}", std::process::id());
    let receivers = Receivers::start(&name);
    let mut shop = Shop::new(&["acme"], &receivers.routes());
    shop.place = shop.place.with_variable("PAGER_KEY", "0123456789abcdef0123456789abcdef");
    let (run, port) = shop.run();
    let token = mint(&shop.place, &[]);
    history_is_read(port, &token, "acme");
    wait_until("a sign of life", SOON, || {
        receivers.webhook.posts().iter().any(|post| post.body["type"] == "heartbeat")
    });
    shop.spike("acme", "40", 10);
    wait_until("the alert is told", SOON, || !told(&receivers.webhook).is_empty());
    let open = alerts(port, &token, "firing");
    let id = open[0]["id"].as_str().unwrap().to_owned();
    receivers.hear_of(&open[0]);
    run.kill();

    let (run, port) = shop.run();
    shop.spike("acme", "5", 11);
    receivers.hear_the_end_of(&id);
    assert!(alerts(port, &token, "firing").is_empty());
    run.stops();
    let listed = shop.deliveries();
    let of_id = listed.iter().filter(|(notice, _)| notice.contains(&id));
    let states: BTreeSet<(&str, &str)> =
        of_id.map(|(notice, state)| (notice.split(' ').next().unwrap(), state.as_str())).collect();
    let expected = ["am", "chat", "hook", "log", "mail", "pager"].map(|route| (route, "delivered"));
    assert_eq!(states, expected.into(), "{listed:?}");
    script("alertmanager.sh", &["stop", &name]);
}

/// The id of a silence of an alert that begins now.
fn silence(alertmanager: u16, alert: &str) -> String {
    let body = json!({
        "matchers": [{ "name": "weir_alert_id", "value": alert, "isRegex": false, "isEqual": true }],
        "startsAt": Micros(now()).to_string(), "endsAt": Micros(now() + DAY).to_string(),
        "createdBy": "kim", "comment": "known",
    });
    let path = "/api/v2/silences";
    let answer = http::send("POST", alertmanager, path, None, &body.to_string());
    answer.json()["silenceID"].as_str().unwrap().to_owned()
}

#[test]
fn what_alertmanager_silences_is_shown_as_long_as_it_does() {
    let name = format!("it-silence-{}", std::process::id());
    let behind = Webhook::start();
    let alertmanager = free_port();
    script("alertmanager.sh", &["start", &name, &alertmanager.to_string(), &behind.url()]);
    let routes = format!(
        "[[alerts.routes]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:{alertmanager}\"\n\
         [[alerts.routes]]\nname = \"log\"\nkind = \"log\"\n"
    );
    let mut shop = Shop::new(&["acme"], &routes);
    let (run, port) = shop.run();
    let token = mint(&shop.place, &[]);
    is_watched(port, &token, "acme");
    shop.spike("acme", "40", 10);
    let id =
        || alerts(port, &token, "firing").first().map(|own| own["id"].as_str().unwrap().to_owned());
    wait_until("the alert is open", SOON, || id().is_some());
    let id = id().unwrap();
    // By route, what keeps the alert back.
    let kept_back = || -> BTreeMap<String, Value> {
        let told = get(port, &format!("/api/v1/alerts/{id}"), &token);
        let told = told["deliveries"].as_array().unwrap().iter();
        told.map(|own| (own["route"].as_str().unwrap().to_owned(), own["silenced_by"].clone()))
            .collect()
    };
    let by = |silences: Value| {
        BTreeMap::from([("am".to_owned(), silences), ("log".to_owned(), json!([]))])
    };
    wait_until("it is told", SOON, || kept_back() == by(json!([])));
    let silence = silence(alertmanager, &id);
    wait_until("the silence is shown", SOON, || kept_back() == by(json!([silence])));
    let listed = shop.place.succeeds(&["alerts", "route", &id, "--json"]).json();
    assert_eq!(listed[0]["deliveries"][0]["silenced_by"], json!([silence]));
    assert_eq!((&listed[0]["route"], &listed[0]["takes"]), (&json!("am"), &json!(true)));
    let told = shop.place.succeeds(&["alerts", "route", &id]).stdout;
    assert!(told.contains(&format!("silenced by {silence}")), "{told}");
    let expired = request("DELETE", alertmanager, &format!("/api/v2/silence/{silence}"), None);
    assert_eq!(expired.status, 200);
    wait_until("it is shown no more", SOON, || kept_back() == by(json!([])));
    run.stops();
    script("alertmanager.sh", &["stop", &name]);
}

/// The same, and until they hold back no alert any more: a source does for a second after its snapshot.
pub(crate) fn is_watched(port: u16, token: &str, tenant: &str) {
    history_is_read(port, token, tenant);
    std::thread::sleep(Duration::from_secs(2));
}

/// Waits until the costs of a tenant are served.
pub(crate) fn history_is_read(port: u16, token: &str, tenant: &str) {
    let path = format!("/api/v1/kpis?kpi=total_cost&grain=day&tenant={tenant}");
    wait_until("the history is read", SOON, || {
        get(port, &path, token)["kpis"].as_array().is_some_and(|rows| !rows.is_empty())
    });
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// What a receiver does in turns while Weir is killed.
const MOODS: [Mood; 7] = [
    Mood::Takes,
    Mood::Hangs,
    Mood::Resets,
    Mood::Takes,
    Mood::Answers("429 Slowly\r\nretry-after: 1"),
    Mood::Answers("500 Broken"),
    Mood::Answers("503 Down"),
];

/// A route rests a minute at most.
const AFTER_RESTS: Duration = Duration::from_secs(240);

/// `tests/kill-delivery.sh` runs it with 200 kills: half of them when alerts open, half when they end.
#[test]
fn kills_lose_no_alert_and_double_none_beyond_its_id() {
    let mut random = seeded("kills_lose_no_alert");
    let kills: usize = std::env::var("WEIR_KILLS").ok().map_or(12, |text| text.parse().unwrap());
    let tenants: Vec<String> = (0..kills.div_ceil(2)).map(|number| format!("t{number}")).collect();
    let webhook = Webhook::start();
    let routes = format!(
        "[[alerts.routes]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n",
        webhook.url()
    );
    let names: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let mut shop = Shop::new(&names, &routes);
    let (mut run, mut port) = shop.run();
    let token = mint(&shop.place, &[]);
    is_watched(port, &token, names[names.len() - 1]);
    webhook.set_moods(&MOODS);
    let mut counted = 0;
    for (cost, version, state) in [("40", 10, "firing"), ("5", 11, "resolved")] {
        for tenant in &tenants {
            shop.spike(tenant, cost, version);
            std::thread::sleep(Duration::from_millis(random.random_range(0..1_500)));
            run.kill();
            counted += 1;
            (run, port) = shop.run();
        }
        wait_until("all alerts are so", AFTER_RESTS, || {
            alerts(port, &token, state).len() == tenants.len()
        });
    }
    webhook.set_moods(&[]);
    let ids: BTreeSet<String> = alerts(port, &token, "resolved")
        .iter()
        .map(|alert| alert["id"].as_str().unwrap().to_owned())
        .collect();
    let of = |kind: &str| -> BTreeSet<String> {
        told(&webhook).into_iter().filter(|(own, _)| own == kind).map(|(_, id)| id).collect()
    };
    wait_until("all are told", AFTER_RESTS, || {
        of("alert.opened") == ids && of("alert.resolved") == ids
    });
    let is_waiting = |state: &String| state == "waiting";
    wait_until("nothing waits", AFTER_RESTS, || !shop.deliveries().values().any(is_waiting));
    run.stops();
    let told = told(&webhook);
    println!("{counted} kills, {} alerts, {} posts of them", ids.len(), told.len());
    for id in &ids {
        let kinds: Vec<&str> =
            told.iter().filter(|(_, alert)| alert == id).map(|(kind, _)| kind.as_str()).collect();
        let end = kinds.iter().position(|kind| *kind == "alert.resolved").unwrap();
        let is_in_order =
            kinds[0] == "alert.opened" && kinds[end..].iter().all(|kind| *kind == "alert.resolved");
        assert!(is_in_order, "{kinds:?}");
    }
    // Whatever came twice came under one id, and because of a kill.
    let posts = webhook.posts().into_iter().filter(|post| post.body["type"] != "heartbeat");
    let posts: Vec<String> = posts.map(|post| post.headers["webhook-id"].clone()).collect();
    let delivered = shop.deliveries();
    let listed = delivered.keys().map(|name| name.trim_start_matches("hook ").to_owned());
    assert_eq!(posts.iter().cloned().collect::<BTreeSet<_>>(), listed.collect::<BTreeSet<_>>());
    assert!(posts.len() <= delivered.len() + counted, "{} of {}", posts.len(), delivered.len());
    assert!(delivered.values().all(|state| state == "delivered"), "{delivered:?}");
}

#[test]
fn a_route_that_is_wrong_is_refused_by_name_and_a_trial_tells_whether_it_works() {
    let webhook = Webhook::start();
    let routes = format!(
        "[[alerts.routes]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n",
        webhook.url()
    );
    let shop = Shop::new(&[], &routes);
    shop.place.succeeds(&["alerts", "test", "hook"]);
    let kinds: Vec<Value> =
        webhook.posts().into_iter().map(|post| post.body["type"].clone()).collect();
    assert_eq!(kinds, ["alert.opened", "alert.resolved"]);
    webhook.set_down(true);
    shop.place.weir(&["alerts", "test", "hook"]).exits(3).says(&["route `hook`", "503"]);
    shop.place.weir(&["alerts", "test", "hok"]).exits(2).says(&["there is no route `hok`", "hook"]);
    let shown = shop.place.succeeds(&["config", "show"]).stdout;
    assert!(!shown.contains(&webhook.url()), "a URL may hold a secret:\n{shown}");
    for (route, says) in [
        (
            "name = \"a\"\nkind = \"carrier-pigeon\"",
            "`a`: kind `carrier-pigeon` is none of alertmanager",
        ),
        ("name = \"a\"\nkind = \"webhook\"\nurl = \"http://169.254.169.254/\"", "link-local"),
        (
            "name = \"a\"\nkind = \"webhook\"\nurls = \"http://127.0.0.1/\"",
            "unknown key `alerts.routes.urls`",
        ),
        ("name = \"hook\"\nkind = \"log\"", "two routes are named `hook`"),
        (
            "name = \"a\"\nkind = \"pagerduty\"\nsecret_file = \"/nowhere/key\"",
            "secret_file /nowhere/key",
        ),
    ] {
        let shop = Shop::new(&[], &format!("{routes}[[alerts.routes]]\n{route}\n"));
        shop.place.weir(&["run"]).exits(2).says(&[says]);
    }
}

#[test]
fn what_ships_for_alertmanager_and_prometheus_is_valid_and_names_metrics_that_there_are() {
    script("alertmanager.sh", &["check"]);
    script("prometheus.sh", &["check"]);
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let rules = std::fs::read_to_string(root.join("deploy/prometheus-rules.yml")).unwrap();
    let read =
        |page: &str| std::fs::read_to_string(root.join("docs/reference").join(page)).unwrap();
    let documented = read("http.md") + &read("alerts.md");
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: BTreeSet<&str> = words.filter(|word| word.starts_with("weir_")).collect();
    assert!(named.len() >= 5, "{named:?}");
    for metric in named {
        let is_there = documented.contains(&format!("`{metric}`"))
            || documented.contains(&format!("`{metric}{{"));
        assert!(is_there, "{metric} is no metric of Weir");
    }
}

#[test]
fn notices_are_kept_in_postgresql_where_that_is_configured() {
    script("postgres.sh", &["start"]);
    let database = format!("weir_alerts_{}", std::process::id());
    sql("postgres", &format!("CREATE DATABASE {database}"));
    let webhook = Webhook::start();
    let routes = format!(
        "[alerts]\nstore = \"postgres://postgres@127.0.0.1:15432/{database}\"\n\
         [[alerts.routes]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n",
        webhook.url()
    );
    let mut shop = Shop::new(&["acme"], &routes);
    let (run, port) = shop.run();
    let token = mint(&shop.place, &[]);
    history_is_read(port, &token, "acme");
    webhook.set_down(true);
    shop.spike("acme", "40", 10);
    wait_until("the alert is written", SOON, || !shop.deliveries().is_empty());
    run.kill();
    webhook.set_down(false);
    let (run, _) = shop.run();
    wait_until("the alert is told", SOON, || !told(&webhook).is_empty());
    run.stops();
    let states = sql(&database, "SELECT DISTINCT state FROM deliveries");
    assert_eq!(states.trim(), "delivered");
    assert!(!shop.place.path("lake/_weir/alerts.sqlite").exists());
    sql("postgres", &format!("DROP DATABASE {database}"));
}
