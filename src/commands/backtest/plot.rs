//! Series with their bands and alerts as one SVG, with nothing in it that is fetched from elsewhere.
//!
//! # Guarantees
//! - What data brings is escaped.
//! - A panel has at most [`COLUMNS`] columns: where there are more buckets, each column shows the least and the most
//!   of its buckets.

use anomaly::Played;
use schemas::{Micros, Severity};

/// Series that are drawn.
pub(super) const PANELS: usize = 12;

const COLUMNS: usize = 800;
const LEFT: f64 = 90.0;
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 120.0;
const STEP: f64 = 190.0;
const HEAD: f64 = 50.0;
/// How far a panel goes beyond the values of a series to show its band, as a share of their span.
const BEYOND: f64 = 0.6;

/// One series.
#[derive(Debug)]
pub(super) struct Panel<'a> {
    pub(super) title: String,
    pub(super) buckets: &'a [Played],
    pub(super) marks: Vec<Mark>,
}

/// An alert.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) start: Micros,
    pub(super) severity: Severity,
    /// What it says.
    pub(super) text: String,
}

/// Buckets side by side that are drawn as one: the least and the most of their values and of their band.
#[derive(Debug, Clone, Copy)]
struct Column {
    start: Micros,
    value: Option<(f64, f64)>,
    band: Option<(f64, f64)>,
}

/// Where instants and numbers of a panel lie.
struct Scale {
    first: Micros,
    span: f64,
    low: f64,
    high: f64,
    top: f64,
}

impl Scale {
    fn x(&self, at: Micros) -> f64 {
        let passed = at.0.saturating_sub(self.first.0) as f64;
        LEFT + WIDTH * passed / self.span
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        self.top + HEIGHT * (1.0 - share)
    }
}

/// The drawing.
pub(super) fn svg(title: &str, panels: &[Panel<'_>]) -> String {
    let count = u32::try_from(panels.len()).unwrap_or(0);
    let (width, height) = (LEFT + WIDTH + 30.0, HEAD + STEP * f64::from(count));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"16\">{}</text>\n",
        escaped(title)
    );
    for (number, panel) in (0_u32..).zip(panels) {
        draw(panel, HEAD + STEP * f64::from(number) + 20.0, &mut out);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(panel: &Panel<'_>, top: f64, out: &mut String) {
    let columns = columns(panel.buckets);
    let scale = scale(panel, &columns, top);
    let (right, bottom) = (LEFT + WIDTH, top + HEIGHT);
    let title = escaped(&panel.title);
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("<g><text x=\"16\" y=\"{}\">{title}</text>", top - 6.0));
    line(format!(
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#d0d4da\"/>"
    ));
    for (value, y) in [(scale.high, top + 10.0), (scale.low, bottom)] {
        let text = number(value);
        line(format!("<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0));
    }
    let last = panel.buckets.last().map(|own| own.start);
    for (at, x, anchor) in [(Some(scale.first), LEFT, "start"), (last, right, "end")] {
        let text = at.map(|at| at.to_string()).unwrap_or_default();
        let y = bottom + 16.0;
        line(format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"));
    }
    for run in columns.split(|own| own.band.is_none()).filter(|run| !run.is_empty()) {
        let points = outline(run, &scale);
        line(format!("<polygon class=\"band\" points=\"{points}\" fill=\"#cfe0f5\"/>"));
    }
    for run in columns.split(|own| own.value.is_none()).filter(|run| !run.is_empty()) {
        let points = path(run, &scale);
        line(format!(
            "<polyline class=\"value\" points=\"{points}\" fill=\"none\" stroke=\"#1f4e8c\" stroke-width=\"1.2\"/>"
        ));
    }
    for mark in &panel.marks {
        let value = panel.buckets.iter().find(|own| own.start == mark.start);
        let y = scale.y(value.and_then(|own| own.value).unwrap_or(scale.low));
        let (x, colour, text) = (scale.x(mark.start), colour(mark.severity), escaped(&mark.text));
        line(format!(
            "<circle class=\"alert\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"><title>{text}</title></circle>"
        ));
    }
    line("</g>".to_owned());
}

/// Upper limits from left to right, then lower ones back.
fn outline(run: &[Column], scale: &Scale) -> String {
    let upper = run.iter().filter_map(|own| Some((own.start, own.band?.1)));
    let lower = run.iter().rev().filter_map(|own| Some((own.start, own.band?.0)));
    points(upper.chain(lower), scale)
}

fn path(run: &[Column], scale: &Scale) -> String {
    let both = run.iter().filter_map(|own| Some((own.start, own.value?)));
    let both = both.flat_map(|(at, (low, high))| {
        let second = (low < high).then_some((at, high));
        [(at, low)].into_iter().chain(second)
    });
    points(both, scale)
}

fn points(all: impl Iterator<Item = (Micros, f64)>, scale: &Scale) -> String {
    let one = |(at, value)| format!("{:.1},{:.1}", scale.x(at), scale.y(value));
    all.map(one).collect::<Vec<_>>().join(" ")
}

fn columns(buckets: &[Played]) -> Vec<Column> {
    let wide = |held: Option<(f64, f64)>, low: f64, high: f64| {
        Some(held.map_or((low, high), |(least, most)| (least.min(low), most.max(high))))
    };
    let column = |run: &[Played]| {
        let start = run.first()?.start;
        let values = run.iter().filter_map(|own| own.value).filter(|own| own.is_finite());
        let bands = run.iter().filter_map(|own| own.band);
        let bands = bands.filter(|[low, _, high]| low.is_finite() && high.is_finite());
        Some(Column {
            start,
            value: values.fold(None, |held, own| wide(held, own, own)),
            band: bands.fold(None, |held, [low, _, high]| wide(held, low, high)),
        })
    };
    let each = buckets.len().div_ceil(COLUMNS).max(1);
    buckets.chunks(each).filter_map(column).collect()
}

/// The values with some of the band around them.
fn scale(panel: &Panel<'_>, columns: &[Column], top: f64) -> Scale {
    let values = || columns.iter().filter_map(|own| own.value);
    let bands = || columns.iter().filter_map(|own| own.band);
    let least = values().map(|own| own.0).fold(f64::INFINITY, f64::min);
    let most = values().map(|own| own.1).fold(f64::NEG_INFINITY, f64::max);
    let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
    let span = if most > least { most - least } else { least.abs().max(1.0) };
    let low = bands().map(|own| own.0).fold(least, f64::min).max(least - BEYOND * span);
    let high = bands().map(|own| own.1).fold(most, f64::max).min(most + BEYOND * span);
    let (low, high) = if high > low { (low, high) } else { (low - span / 2.0, high + span / 2.0) };
    let first = panel.buckets.first().map_or(Micros(0), |own| own.start);
    let last = panel.buckets.last().map_or(first, |own| own.start);
    let span = (last.0.saturating_sub(first.0)).max(1) as f64;
    Scale { first, span, low, high, top }
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "#6b7280",
        Severity::Warning => "#d99000",
        Severity::Error => "#d2571b",
        Severity::Critical => "#b3122a",
    }
}

/// A number with about four digits.
fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1e6 => format!("{value:.3e}"),
        _ if size >= 1_000.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no other control characters.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_has_value_band_and_alerts_and_escapes_what_data_brings() {
        let hour = |place: i64| Micros(place * 3_600_000_000);
        let value = |place: i64| if place == 5 { None } else { Some(10.0) };
        let band = |place: i64| (place > 2).then_some([5.0, 10.0, 20.0]);
        let played = |place| Played { start: hour(place), value: value(place), band: band(place) };
        let buckets: Vec<Played> = (0..10).map(played).collect();
        let text = "a <b> & \"c\"\u{1b}".to_owned();
        let marks = vec![Mark { start: hour(7), severity: Severity::Critical, text }];
        let panel = Panel { title: "<script>".into(), buckets: &buckets, marks };
        let drawn = svg("what & why", &[panel]);
        assert!(!drawn.contains("<script>") && !drawn.contains('\u{1b}'), "{drawn}");
        assert!(drawn.contains("a &lt;b&gt; &amp; &quot;c&quot;"), "{drawn}");
        let count = |what: &str| drawn.matches(what).count();
        // Nothing arrived in the sixth hour: the line has a gap.
        let classes = ["class=\"value\"", "class=\"band\"", "class=\"alert\"", "http"];
        assert_eq!(classes.map(count), [2, 1, 1, 1], "{drawn}");
        // The alert stands where its bucket is: seven ninths of the way, at a third of the height from the lowest.
        assert!(drawn.contains(&format!("cx=\"{:.1}\"", LEFT + WIDTH * 7.0 / 9.0)), "{drawn}");
    }

    #[test]
    fn many_buckets_become_few_columns_that_show_the_least_and_the_most() {
        let value = |place: i64| if place == 4_321 { 99.0 } else { 1.0 };
        let played = |place| Played { start: Micros(place), value: Some(value(place)), band: None };
        let buckets: Vec<Played> = (0..10_000).map(played).collect();
        let found = columns(&buckets);
        assert!(found.len() <= COLUMNS);
        assert_eq!(found.iter().filter(|own| own.value == Some((1.0, 99.0))).count(), 1);
        assert_eq!(svg("", &[]).matches("<g>").count(), 0);
    }
}
