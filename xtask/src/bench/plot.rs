//! Summaries as a picture: one line each, from the smallest to the largest, the median marked, and
//! the aim where there is one. Plain SVG, so that it needs nothing to be drawn or looked at.

use std::fmt::Write;

use super::statistics::Summary;

/// One line of a picture.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it is.
    pub label: String,
    /// What is drawn.
    pub span: Summary,
    /// Where its median should be on one side of.
    pub aim: Option<f64>,
}

const LABELS: f64 = 380.0;
const CHART: f64 = 480.0;
const ROW: f64 = 22.0;
const TOP: f64 = 34.0;
/// How many steps the axis has, about.
const STEPS: f64 = 6.0;

/// Draws lines over one axis that begins at zero.
pub fn svg(unit: &str, lines: &[Line]) -> String {
    let largest = lines
        .iter()
        .flat_map(|line| [line.span.max, line.aim.unwrap_or_default()]);
    let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LABELS + value / largest * CHART;
    let height = TOP + ROW * lines.len() as f64 + 10.0;
    let mut svg = String::new();
    let width = LABELS + CHART + 30.0;
    // Writing to a string cannot fail.
    let mut add = |text: String| writeln!(svg, "{text}").unwrap_or_default();
    add(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    ));
    let step = step(largest);
    let mut tick = 0.0;
    while tick <= largest {
        let at = x(tick);
        add(format!(
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{height}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"24\" text-anchor=\"middle\">{}</text>",
            (tick * 100.0).round() / 100.0
        ));
        tick += step;
    }
    add(format!("<text x=\"8\" y=\"24\">{}</text>", escape(unit)));
    for (line, row) in lines.iter().zip(0u32..) {
        add(draw(line, TOP + ROW * (f64::from(row) + 0.5), x));
    }
    add("</svg>".to_owned());
    svg
}

/// A round number that cuts the axis into a few steps.
fn step(largest: f64) -> f64 {
    let rough = largest / STEPS;
    let magnitude = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * magnitude >= rough);
    factor.unwrap_or(10.0) * magnitude
}

fn draw(line: &Line, y: f64, x: impl Fn(f64) -> f64) -> String {
    let Summary { median, min, max } = line.span;
    let mut text = format!(
        "<text x=\"8\" y=\"{:.1}\">{}</text>\
         <line x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#68a\" \
         stroke-width=\"6\"/><circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#124\"/>",
        y + 4.0,
        escape(&line.label),
        x(min),
        x(max),
        x(median)
    );
    if let Some(aim) = line.aim {
        let (at, from, to) = (x(aim), y - ROW / 2.0 + 2.0, y + ROW / 2.0 - 2.0);
        text += &format!(
            "<line x1=\"{at:.1}\" y1=\"{from:.1}\" x2=\"{at:.1}\" y2=\"{to:.1}\" stroke=\"#c22\" \
             stroke-width=\"2\"><title>aim {aim}</title></line>"
        );
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_aims_are_where_the_axis_says() {
        let line = Line {
            label: "a < b".to_owned(),
            span: Summary {
                median: 50.0,
                min: 25.0,
                max: 100.0,
            },
            aim: Some(75.0),
        };
        let picture = svg("ns", &[line]);
        for wanted in [
            "a &lt; b",
            "cx=\"620.0\"",
            "x1=\"500.0\" y1=\"45.0\" x2=\"860.0\"",
            "<title>aim 75</title>",
            ">100</text>",
        ] {
            assert!(picture.contains(wanted), "{wanted} is not in {picture}");
        }
    }

    #[test]
    fn steps_are_round() {
        assert_eq!(step(600.0), 100.0);
        assert_eq!(step(1.3), 0.5);
        assert_eq!(step(9.0), 2.0);
    }
}
