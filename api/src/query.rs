//! Reading query strings strictly: what is not understood is an error, never ignored.
//!
//! # Guarantees
//! - An unknown or repeated parameter, or a value of the wrong form, is a 400 that says which and
//!   what to write instead.
//! - An instant is RFC 3339 or a date, in no other form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::http::StatusCode;
use schemas::{Grain, KpiInfo, Micros};

use crate::earlier::Against;
use crate::problem::Problem;
use crate::store::DimFilter;

/// Characters of a tenant or of a KPI's key.
pub(crate) const NAME_MAX: usize = 256;
/// KPIs that one request may name.
pub(crate) const KPIS_MAX: usize = 100;

/// The parameter of dimensions, by whose name it ends: `dim.channel=web`.
pub(crate) const DIM: &str = "dim.NAME";
/// Values of dimensions that one request may name.
const DIMS_MAX: usize = 100;

/// The parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query {
    given: Vec<(&'static str, String)>,
    /// Dimensions and values of [`DIM`].
    dims: Vec<(String, String)>,
}

impl Query {
    /// Reads a raw query string of which only `known` parameters are understood.
    pub(crate) fn parse(raw: Option<&str>, known: &[&'static str]) -> Result<Query, Problem> {
        let mut given: Vec<(&'static str, String)> = Vec::new();
        let mut dims: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if let Some(name) = name.strip_prefix("dim.").filter(|_| known.contains(&DIM)) {
                if dims.len() >= DIMS_MAX {
                    let detail =
                        format!("there are more than {DIMS_MAX} values of dimensions; give fewer");
                    return Err(Problem::bad_parameter(DIM, detail));
                }
                dims.push((name.to_owned(), value.into_owned()));
                continue;
            }
            let Some(&name) = known.iter().find(|known| ***known == *name) else {
                return Err(unknown(&name, known));
            };
            if name != "kpi" && given.iter().any(|(earlier, _)| *earlier == name) {
                let detail = format!("`{name}` is given more than once; give it once");
                return Err(Problem::bad_parameter(name, detail));
            }
            if given.len() >= KPIS_MAX + known.len() {
                return Err(too_many_kpis());
            }
            given.push((name, value.into_owned()));
        }
        Ok(Query { given, dims })
    }

    fn get(&self, name: &str) -> Option<&str> {
        let given = self.given.iter().find(|(given, _)| *given == name);
        given.map(|(_, value)| value.as_str())
    }

    /// The tenant.
    pub(crate) fn tenant(&self) -> Result<Option<&str>, Problem> {
        let Some(tenant) = self.get("tenant") else { return Ok(None) };
        if tenant.is_empty() || tenant.chars().count() > NAME_MAX {
            let detail = format!(
                "`tenant` must have 1 to {NAME_MAX} characters; leave it out to see all that the \
                 token allows"
            );
            return Err(Problem::bad_parameter("tenant", detail));
        }
        Ok(Some(tenant))
    }

    /// The grain.
    pub(crate) fn grain(&self) -> Result<Option<Grain>, Problem> {
        let Some(grain) = self.get("grain") else { return Ok(None) };
        let unknown = || {
            let (grain, all, windows) = (shown(grain), Grain::names(), Grain::window_names());
            let detail = format!("`grain` is `{grain}`; use {all}; or a window, {windows}");
            Problem::bad_parameter("grain", detail)
        };
        Grain::parse(grain).map(Some).ok_or_else(unknown)
    }

    /// The values of dimensions, of dimensions that KPIs have.
    pub(crate) fn dims(&self, known: &[KpiInfo]) -> Result<DimFilter, Problem> {
        let mut filter = DimFilter::default();
        let names = || known.iter().flat_map(|kpi| kpi.dims.iter().map(String::as_str));
        for (name, value) in &self.dims {
            if !names().any(|known| known == name) {
                let hint = nearest(name, names());
                let detail = format!("no KPI has a dimension `{}`{hint}", shown(name));
                return Err(Problem::bad_parameter(DIM, detail));
            }
            filter.or(name, value);
        }
        Ok(filter)
    }

    /// One value of each dimension, of dimensions that this KPI has.
    pub(crate) fn own_dims(&self, kpi: &KpiInfo) -> Result<BTreeMap<String, String>, Problem> {
        let mut own = BTreeMap::new();
        for (name, value) in &self.dims {
            if !kpi.dims.contains(name) {
                let hint = nearest(name, kpi.dims.iter().map(String::as_str));
                let detail = format!("`{}` has no dimension `{}`{hint}", kpi.key, shown(name));
                return Err(Problem::bad_parameter(DIM, detail));
            }
            if own.insert(name.clone(), value.clone()).is_some() {
                let detail = format!("`dim.{}` is given more than once; give it once", shown(name));
                return Err(Problem::bad_parameter(DIM, detail));
            }
        }
        Ok(own)
    }

    /// A text.
    pub(crate) fn text(&self, name: &'static str) -> Option<&str> {
        self.get(name)
    }

    /// A whole number from 1 on.
    pub(crate) fn count(&self, name: &'static str, max: usize) -> Result<Option<usize>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let bad = || {
            let detail =
                format!("`{name}` is `{}`; use a whole number from 1 to {max}", shown(text));
            Problem::bad_parameter(name, detail)
        };
        let number = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.map(Some).ok_or_else(bad)
    }

    /// What cells are to be compared with.
    pub(crate) fn compare(&self) -> Result<Option<Against>, Problem> {
        let words = Against::ALL.map(Against::name);
        Ok(self.word("compare", &words)?.and_then(Against::parse))
    }

    /// The KPIs: separated by commas, or the parameter several times.
    pub(crate) fn kpis(&self, known: &[KpiInfo]) -> Result<Option<BTreeSet<Arc<str>>>, Problem> {
        let (mut kpis, mut named) = (BTreeSet::new(), 0);
        let given = self.given.iter().filter(|(name, _)| *name == "kpi");
        for key in given.flat_map(|(_, value)| value.split(',')) {
            if key.is_empty() {
                let detail = "`kpi` has an empty name; write keys separated by commas";
                return Err(Problem::bad_parameter("kpi", detail));
            }
            named += 1;
            if named > KPIS_MAX {
                return Err(too_many_kpis());
            }
            let found = find(known, key)?;
            kpis.insert(Arc::clone(&found.key));
        }
        Ok((!kpis.is_empty()).then_some(kpis))
    }

    /// An instant.
    pub(crate) fn instant(&self, name: &'static str) -> Result<Option<Micros>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let bad = || {
            let detail = format!(
                "`{name}` is `{}`; use RFC 3339 such as 2026-03-01T00:00:00Z, or a date such as \
                 2026-03-01, both in UTC; a plus sign is written %2B",
                shown(text)
            );
            Problem::bad_parameter(name, detail)
        };
        parse_instant(text).map(Some).ok_or_else(bad)
    }

    /// The span from `from` to `to`.
    pub(crate) fn span(&self) -> Result<(Option<Micros>, Option<Micros>), Problem> {
        let (from, to) = (self.instant("from")?, self.instant("to")?);
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            let detail =
                "`from` is later than `to`; periods from `from` up to before `to` are answered";
            return Err(Problem::bad_parameter("from", detail));
        }
        Ok((from, to))
    }

    /// One of some words.
    pub(crate) fn word<'w>(
        &self,
        name: &'static str,
        words: &[&'w str],
    ) -> Result<Option<&'w str>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let bad = || {
            let detail = format!("`{name}` is `{}`; use {}", shown(text), words.join(" or "));
            Problem::bad_parameter(name, detail)
        };
        words.iter().find(|word| **word == text).map(|word| Some(*word)).ok_or_else(bad)
    }
}

/// RFC 3339 (`T` and `Z` in either case, a zone as `+02:00`), or a date, which is its midnight in UTC.
pub(crate) fn parse_instant(text: &str) -> Option<Micros> {
    let (date, rest) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let has_form = |text: &str, form: &str| {
        let fits = |(letter, wanted): (char, char)| match wanted {
            '0' => letter.is_ascii_digit(),
            _ => letter == wanted,
        };
        text.chars().count() == form.len() && text.chars().zip(form.chars()).all(fits)
    };
    let is_time = |time: &str| {
        let zone_at = time.find(['Z', 'z', '+', '-'])?;
        let (clock, zone) = time.split_at(zone_at);
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let is_fraction = !fraction.is_empty() && fraction.chars().all(|c| c.is_ascii_digit());
        let is_zone =
            matches!(zone, "Z" | "z") || has_form(zone, "+00:00") || has_form(zone, "-00:00");
        (has_form(clock, "00:00:00") && is_fraction && is_zone).then_some(())
    };
    let is_instant =
        has_form(date, "0000-00-00") && rest.is_none_or(|time| is_time(time).is_some());
    is_instant.then(|| Micros::parse(&text.to_ascii_uppercase())).flatten()
}

/// The KPI with this key.
pub(crate) fn find<'a>(known: &'a [KpiInfo], key: &str) -> Result<&'a KpiInfo, Problem> {
    known.iter().find(|kpi| *kpi.key == *key).ok_or_else(|| {
        let hint = nearest(key, known.iter().map(|kpi| &*kpi.key));
        let detail = format!("there is no KPI `{}`{hint}; /api/v1/meta names all", shown(key));
        Problem::not_found(detail).about("kpi")
    })
}

fn too_many_kpis() -> Problem {
    let detail = format!("`kpi` names more than {KPIS_MAX} KPIs; ask for fewer at a time");
    Problem::bad_parameter("kpi", detail)
}

fn unknown(name: &str, known: &[&'static str]) -> Problem {
    let detail = if known.is_empty() {
        format!("there is no parameter `{}`; this route takes none", shown(name))
    } else {
        let hint = nearest(name, known.iter().copied());
        let all = known.join(", ");
        format!("there is no parameter `{}`{hint}; there are {all}", shown(name))
    };
    Problem::new(StatusCode::BAD_REQUEST, detail).about(shown(name))
}

/// The nearest of some names, as advice.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    // The distance takes time by both lengths.
    if name.chars().count() > NAME_MAX {
        return String::new();
    }
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(known, name));
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

/// What a client wrote, short and without what breaks lines.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let mut shown: String =
        text.chars().filter(|letter| !letter.is_control()).take(SHOWN_MAX).collect();
    if text.chars().count() > SHOWN_MAX {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = ["tenant", "grain", "kpi", "from", "to"];

    fn refusal(raw: &str) -> String {
        let read = |query: Query| {
            query.tenant()?;
            query.grain()?;
            query.span()
        };
        Query::parse(Some(raw), &KNOWN).and_then(read).unwrap_err().detail
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_to_write() {
        for (raw, expected) in [
            ("tennant=t1", "did you mean `tenant`?"),
            ("tenant=a&tenant=b", "more than once"),
            ("tenant=", "1 to 256 characters"),
            ("grain=decade", "use hour, day, week, month, quarter or year"),
            ("from=yesterday", "2026-03-01T00:00:00Z"),
            ("from=2026-02-30", "`from` is `2026-02-30`"),
            ("from=2026-01-01T00:00:00+02:00", "%2B"),
            ("from=2026-01-02&to=2026-01-01", "later than `to`"),
        ] {
            let refusal = refusal(raw);
            assert!(refusal.contains(expected), "{raw}: {refusal}");
        }
        assert!(!refusal("grain=a%0d%0ab").contains('\n'), "what is repeated stays on one line");
    }

    #[test]
    fn an_instant_is_rfc_3339_or_a_date() {
        for (text, expected) in [
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2026-11-20T14:00:00Z", "2026-11-20T14:00:00Z"),
            ("2026-11-20t14:00:00.25z", "2026-11-20T14:00:00.250Z"),
            ("2026-11-20T14:00:00-01:30", "2026-11-20T15:30:00Z"),
        ] {
            assert_eq!(parse_instant(text).map(|at| at.to_string()).as_deref(), Some(expected));
        }
        for text in [
            "",
            "2026-11-20T14:00:00",
            "2026-11-20 14:00:00Z",
            "2026-11-20 14:00:00",
            "2026-11-20T14:00Z",
            "2026-11-20T14:00:00+0130",
            "2026-11-20T14:00:00.Z",
            "2026-11-20T14:00:00 Z",
            "2026-11-20T",
            "2026-1-2",
            " 2026-11-20",
            "20261120",
            "2026-02-30",
            "1795245775",
            "\u{662}026-11-20",
        ] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }

    #[test]
    fn good_parameters_are_read() {
        let raw = "tenant=a%20b&grain=day&from=2026-01-01T00:00:00%2B02:00";
        let query = Query::parse(Some(raw), &KNOWN).unwrap();
        assert_eq!(query.tenant().unwrap(), Some("a b"));
        assert_eq!(query.grain().unwrap(), Some(Grain::Day));
        let (from, to) = query.span().unwrap();
        let from = from.unwrap();
        assert_eq!(to, None);
        assert_eq!(from.to_string(), "2025-12-31T22:00:00Z");
        assert!(Query::parse(None, &[]).unwrap().given.is_empty());
    }
}
