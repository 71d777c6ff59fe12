//! Draws a line chart as SVG.

use crate::chart::{COLOURS, Series, TOP, WIDTH, chart_header, legend, number, text};
use std::fmt::Write;

/// A line in a chart, which connects several points.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The label of the line in the legend of the chart.
    pub(crate) label: String,
    /// The points of the line, each as x and y, in ascending order of x.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Returns the SVG text of a chart with all lines. Both axes begin at zero.
pub(crate) fn draw(title: &str, x_label: &str, y_label: &str, lines: &[Line]) -> String {
    let left = 70.0;
    let (width, height) = (WIDTH - left - 20.0, 240.0);
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let x_max = points().map(|point| point.0).fold(0.0, f64::max);
    let y_max = rounded_up(points().map(|point| point.1).fold(0.0, f64::max));
    let mut svg = chart_header(title, TOP + height + 48.0);
    let labels: Vec<&str> = lines.iter().map(|line| &*line.label).collect();
    let series = coloured(&labels);
    legend(&mut svg, left, &series);
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        let y = TOP + height * (1.0 - share);
        rule(&mut svg, (left, y), (left + width, y));
        text(&mut svg, (left - 8.0, y + 4.0), "end", &number(y_max * share));
        let x = left + width * share;
        text(&mut svg, (x, TOP + height + 18.0), "middle", &number(x_max * share));
    }
    text(&mut svg, (left + width / 2.0, TOP + height + 38.0), "middle", x_label);
    text(&mut svg, (left, TOP - 8.0), "start", y_label);
    for (line, (_, colour)) in lines.iter().zip(&series) {
        let drawn: Vec<String> = line
            .points
            .iter()
            .map(|(x, y)| {
                let (x, y) = (left + width * x / x_max, TOP + height * (1.0 - y / y_max));
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ = writeln!(
            svg,
            r#"<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{}"/>"#,
            drawn.join(" ")
        );
    }
    svg + "</svg>\n"
}

/// Assigns one of the [`COLOURS`] to each label.
pub(crate) fn coloured<'a>(labels: &[&'a str]) -> Vec<Series<'a>> {
    assert!(labels.len() <= COLOURS.len(), "the chart must not have more lines than colours");
    labels.iter().copied().zip(COLOURS).collect()
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#);
}

/// Returns `value`, rounded up to a round number such as 200 or 500.
fn rounded_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    steps.iter().map(|step| step * unit).find(|round| *round >= value).unwrap_or(10.0 * unit)
}
