//! The description of the API: OpenAPI 3.1.
//!
//! # Guarantees
//! - It is made from the routes that run, and every route can answer each problem it lists.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use utoipa::openapi::path::{Operation, ParameterIn, ParameterStyle};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ArrayBuilder, Content, HeaderBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, OpenApi, Ref,
    RefOr, Required, Response, ResponseBuilder, Schema, SchemaFormat, Type,
};
use utoipa::{IntoParams, ToSchema};

use super::shapes::GrainShape;
use crate::problem::{PROBLEM_JSON, Problem};
use crate::query::{KPIS_MAX, NAME_MAX};

/// What every route below `/api/v1` that needs a token can answer.
const PROBLEMS: [(&str, &str); 9] = [
    (
        "400",
        "A parameter or the body is unknown, repeated or of the wrong form, or the answer would be too long",
    ),
    ("401", "There is no token, or it is not accepted"),
    ("403", "The token is for another tenant, or lacks the scope"),
    ("404", "There is no such KPI, series, alert, mute or path"),
    ("406", "`Accept` leaves out every form of the answer: JSON, and of lists of values CSV"),
    ("414", "The address is longer than 8 KiB"),
    ("429", "The token's subject has made too many requests; `Retry-After` says when to go on"),
    ("431", "The headers are larger than 16 KiB"),
    (
        "503",
        "The pipeline is recovering, the server has no room, or a decision cannot be kept; see `Retry-After`",
    ),
];

/// Fields that are there with `compare` or `by` only, or where something is planned.
const ASKED: [&str; 7] =
    ["previous", "change", "change_ratio", "others", "parts", "adds_up", "planned"];

/// Answers that change without an epoch, and have no tag.
const UNTAGGED: [&str; 3] = ["/api/v1/status", "/api/v1/alerts/{id}", "/api/v1/kpis/{kpi}/explain"];

/// What clients send, and may leave parts of out.
const REQUESTS: [&str; 5] = ["Acknowledgement", "Feedback", "NewMute", "Match", "ScoreRequest"];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Weir",
        description = "KPIs over change streams, exact and as of one epoch. Numbers are decimal \
                       strings, instants RFC 3339 in UTC. Answers have an `ETag`; `If-None-Match` \
                       gets a 304 while nothing has changed.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(Problem))
)]
struct Base;

/// The document without its routes.
pub(crate) fn base() -> OpenApi {
    let mut document = <Base as utoipa::OpenApi>::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "Claims: `tenant` (`*` for all), `scope` (`kpi:read alerts:read alerts:write`).",
        ))
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document
}

/// The whole document as JSON text.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut document = super::documented().into_openapi();
        for (path, item) in &mut document.paths.paths {
            if let Some(get) = &mut item.get {
                add_problems(get, !UNTAGGED.contains(&&**path));
                describe_parameters(get);
            }
            for decision in [&mut item.post, &mut item.delete].into_iter().flatten() {
                add_problems(decision, false);
                // Who acknowledges need not say anything.
                if let Some(RefOr::T(body)) = &mut decision.request_body
                    && path.ends_with("/acknowledge")
                {
                    body.required = Some(Required::False);
                }
            }
        }
        for (name, schema) in document.components.iter_mut().flat_map(|c| &mut c.schemas) {
            // Fields are never left out, but those of a problem that it is not about, what only windows have, and
            // what nobody asked for.
            let is_said = *name != Problem::name() && !REQUESTS.contains(&&**name);
            if let (RefOr::T(Schema::Object(object)), true) = (schema, is_said) {
                let is_there = |field: &&String| {
                    !ASKED.contains(&&***field) && (name != "Cell" || *field != "period_end")
                };
                object.required = object.properties.keys().filter(is_there).cloned().collect();
            }
        }
        let mut text = document.to_pretty_json().unwrap_or_default();
        text.push('\n');
        text
    });
    &TEXT
}

fn add_problems(operation: &mut Operation, has_tag: bool) {
    let responses = &mut operation.responses.responses;
    if let Some(RefOr::T(answer)) = responses.get_mut("200") {
        add_headers(answer, has_tag);
    }
    if has_tag {
        let mut unchanged =
            ResponseBuilder::new().description("The client's copy is the answer").build();
        add_headers(&mut unchanged, true);
        responses.insert("304".to_owned(), RefOr::T(unchanged));
    }
    for (status, description) in PROBLEMS {
        let schema = Ref::from_schema_name(Problem::name());
        let content = Content::new(Some(RefOr::Ref(schema)));
        let problem =
            ResponseBuilder::new().description(description).content(PROBLEM_JSON, content);
        responses.insert(status.to_owned(), RefOr::T(problem.build()));
    }
}

/// What an answer says of itself.
fn add_headers(response: &mut Response, has_tag: bool) {
    let mut add = |name: &str, description: &str| {
        let header = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .description(Some(description));
        response.headers.insert(name.to_owned(), RefOr::T(header.build()));
    };
    add("Cache-Control", "`private, no-cache`: only the client may keep it, and must ask again");
    if has_tag {
        add("ETag", "A weak tag of the answer, for `If-None-Match`");
    }
}

/// A parameter with a schema of its own loses its description in the macro.
fn describe_parameters(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        parameter.description = match parameter.name.as_str() {
            "from" => {
                Some("Only periods that start here or later: RFC 3339 or a date, in UTC.".into())
            }
            "to" => Some("Only periods that start before this: RFC 3339 or a date, in UTC.".into()),
            "as_of" => Some(
                "As the history said at this instant (RFC 3339 or a date, in UTC), to a minute of a period that runs; \
                 of grains, without `compare`. The answer's clock is that instant."
                    .into(),
            ),
            "period_start" => Some(
                "The period that holds this instant, RFC 3339 in UTC, or that begins on this date of the tenant; the \
                 running one without it. Not with a window, which is one period."
                    .into(),
            ),
            "sort" => Some(
                "In this order, a minus for the greatest first; those without a number come last. By \
                 change with `compare` only."
                    .into(),
            ),
            "kpi" if parameter.parameter_in == ParameterIn::Query => {
                (parameter.style, parameter.explode) = (Some(ParameterStyle::Form), Some(false));
                Some("Only these KPIs: keys separated by commas.".into())
            }
            _ => continue,
        };
    }
}

/// `GET /api/v1/openapi.json`.
pub(crate) async fn openapi() -> axum::response::Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")];
    (headers, text()).into_response()
}

/// An instant or a date.
fn instant() -> Schema {
    let text = |format| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(format)))
    };
    let both = OneOfBuilder::new().item(text(KnownFormat::DateTime)).item(text(KnownFormat::Date));
    Schema::OneOf(both.build())
}

/// What cells are compared with.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the variants are read by the derived description only")]
enum CompareShape {
    Previous,
    Year,
}

/// The words of `sort`.
fn orders() -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.enum_values(Some(["value", "-value", "change", "-change"])).build().into()
}

/// Keys of KPIs.
fn kpi_keys() -> Schema {
    let key = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[^,]+$"));
    let key = key.min_length(Some(1)).max_length(Some(NAME_MAX));
    let keys = ArrayBuilder::new().items(key.build());
    Schema::Array(keys.min_items(Some(1)).max_items(Some(KPIS_MAX)).build())
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields are read by the derived description only")]
pub(super) struct KpisQuery {
    /// Only this tenant; without it all that the token may see.
    #[param(min_length = 1, max_length = 256, required = false)]
    tenant: String,
    /// Only this grain or window; without it all grains of the calendar.
    #[param(inline, required = false)]
    grain: GrainShape,
    #[param(schema_with = kpi_keys, required = false)]
    kpi: Vec<String>,
    #[param(schema_with = instant, required = false)]
    from: String,
    #[param(schema_with = instant, required = false)]
    to: String,
    /// Only series with one of these values of a dimension, as in `dim.channel=web`; may be repeated. An empty
    /// value: those without one.
    #[param(rename = "dim.NAME", required = false)]
    dim: String,
    /// Compare each with the period before, or the same one a year before; of a period that runs, with as much
    /// of it.
    #[param(inline, required = false)]
    compare: CompareShape,
    /// As the history said at this instant; of grains, without `compare`. The clock of the answer then is that instant.
    #[param(schema_with = instant, required = false)]
    as_of: String,
    /// Of this dimension only the `top` greatest values, and the others together as one; not with `sort`, `limit` or
    /// `cursor`.
    #[param(min_length = 1, max_length = 256, required = false)]
    by: String,
    /// How many values of the dimension `by`; 10 without it.
    #[param(minimum = 1, maximum = 1_000, required = false)]
    top: u32,
    /// In this order, a minus for the greatest first; those without a number come last. By change with `compare`
    /// only.
    #[param(schema_with = orders, required = false)]
    sort: String,
    /// At most so many values; `next` of the answer goes on.
    #[param(minimum = 1, maximum = 100_000, required = false)]
    limit: u32,
    /// `next` of the page before, with the same parameters.
    #[param(required = false)]
    cursor: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields are read by the derived description only")]
pub(super) struct SeriesQuery {
    /// Only this tenant; without it all that the token may see.
    #[param(min_length = 1, max_length = 256, required = false)]
    tenant: String,
    /// The grain; `day` without it. A window has no history.
    #[param(inline, required = false)]
    grain: GrainShape,
    #[param(schema_with = instant, required = false)]
    from: String,
    #[param(schema_with = instant, required = false)]
    to: String,
    /// Only series with one of these values of a dimension, as in `dim.channel=web`; may be repeated. An empty
    /// value: those without one.
    #[param(rename = "dim.NAME", required = false)]
    dim: String,
    /// Compare each with the period before, or the same one a year before; of a period that runs, with as much
    /// of it.
    #[param(inline, required = false)]
    compare: CompareShape,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields are read by the derived description only")]
pub(super) struct ForecastQuery {
    /// Only this tenant; without it all that the token may see.
    #[param(min_length = 1, max_length = 256, required = false)]
    tenant: String,
    /// `hour`, `day`, `week`, `month` or `quarter`; `month` without it.
    #[param(inline, required = false)]
    grain: GrainShape,
    /// Only series with one of these values of a dimension, as in `dim.channel=web`; may be repeated. An empty
    /// value: those without one.
    #[param(rename = "dim.NAME", required = false)]
    dim: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields are read by the derived description only")]
pub(super) struct ExplainQuery {
    /// Whose cells; needed where the token is for several tenants.
    #[param(min_length = 1, max_length = 256, required = false)]
    tenant: String,
    /// The grain or window; `day` without it.
    #[param(inline, required = false)]
    grain: GrainShape,
    #[param(schema_with = instant, required = false)]
    period_start: String,
    /// Only the cell with this value of a dimension, as in `dim.channel=web`; once for each of the KPI's dimensions. An
    /// empty value: those without one.
    #[param(rename = "dim.NAME", required = false)]
    dim: String,
    /// At most so many rows; `next` of the answer goes on. 100 without it.
    #[param(minimum = 1, maximum = 10_000, required = false)]
    limit: u32,
    /// `next` of the page before, with the same parameters.
    #[param(required = false)]
    cursor: String,
}

/// Which alerts.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the variants are read by the derived description only")]
enum AlertsState {
    Firing,
    Resolved,
    Withdrawn,
    Pending,
    All,
    Open,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields are read by the derived description only")]
pub(super) struct AlertsQuery {
    /// Which alerts; `firing` without it, for which `open` is another word. None is `pending` yet, and one that is
    /// `withdrawn` is not in the lake any more.
    #[param(inline, required = false)]
    state: AlertsState,
    /// Only this tenant; without it all that the token may see.
    #[param(min_length = 1, max_length = 256, required = false)]
    tenant: String,
}
