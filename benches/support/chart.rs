//! Draws bar charts as SVG, which need no font and are readable on light and dark pages.

use std::fmt::Write;

/// The width of a chart in pixels.
pub(crate) const WIDTH: f64 = 760.0;
/// The width in pixels of the labels on the left of a chart.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 90.0;
/// The height in pixels of the title and the legend of a chart.
pub(crate) const TOP: f64 = 64.0;
/// The colours of bars and lines. The colours also differ in lightness, for readers who cannot
/// distinguish colours.
pub(crate) const COLOURS: [&str; 5] = ["#1f5fa8", "#d9822b", "#7fb069", "#b3b3b3", "#dcd3e2"];

/// The label in the legend of a chart, and the colour that belongs to it.
pub(crate) type Series<'a> = (&'a str, &'static str);

/// Returns the SVG text of a chart with one bar for each series in each group. `better` says
/// whether high or low values are better.
pub(crate) fn bars(
    title: &str,
    unit: &str,
    better: &str,
    series: &[Series<'_>],
    groups: &[(String, Vec<f64>)],
) -> String {
    let (bar, gap) = (16.0, 14.0);
    let group_height = bar * count(series.len()) + gap;
    let height = group_height * count(groups.len());
    let max = groups.iter().flat_map(|group| &group.1).copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = chart_header(title, TOP + height + 12.0);
    legend(&mut svg, 16.0, series);
    text(&mut svg, (LEFT, TOP - 7.0), "start", better);
    for (at, (label, values)) in groups.iter().enumerate() {
        let top = TOP + group_height * count(at);
        let middle = top + bar * count(series.len()) / 2.0 + 4.0;
        text(&mut svg, (LEFT - 10.0, middle), "end", label);
        for (nth, (value, (_, colour))) in values.iter().zip(series).enumerate() {
            let y = top + bar * count(nth);
            let long = ((WIDTH - LEFT - RIGHT) * value / max).max(1.0);
            let _ = writeln!(
                svg,
                r#"<rect x="{LEFT}" y="{y:.1}" width="{long:.1}" height="{}" fill="{colour}"/>"#,
                bar - 2.0
            );
            let figure = format!("{} {unit}", number(*value));
            text(&mut svg, (LEFT + long + 6.0, y + bar - 5.0), "start", figure.trim_end());
        }
    }
    svg + "</svg>\n"
}

/// Returns the first lines of a chart's SVG text, with the title.
pub(crate) fn chart_header(title: &str, height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <title>{title}</title>\n<style>text {{ fill: #222 }} line {{ stroke: #8884 }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} }}</style>\n"
    );
    let _ =
        writeln!(svg, r#"<text x="16" y="22" font-size="14" font-weight="bold">{title}</text>"#);
    svg
}

/// Adds the legend to the SVG text of a chart: the labels and their colours.
pub(crate) fn legend(svg: &mut String, left: f64, series: &[Series<'_>]) {
    let mut x = left;
    for (label, colour) in series {
        let _ =
            writeln!(svg, r#"<rect x="{x:.0}" y="32" width="10" height="10" fill="{colour}"/>"#);
        text(svg, (x + 15.0, 41.0), "start", label);
        x += 34.0 + 6.6 * count(label.chars().count());
    }
}

/// Adds a text at the position `at` to the SVG text of a chart.
pub(crate) fn text(svg: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let (x, y) = at;
    let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#);
}

/// Formats a number with about three significant digits.
pub(crate) fn number(value: f64) -> String {
    let value = if value == 0.0 { 0.0 } else { value };
    let decimals = match value.abs() {
        size if size >= 100.0 || value == value.trunc() => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

pub(crate) fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
