//! A chart as SVG: lines over two axes, readable on white and on black.
//!
//! Knows no figures but those it is given. Invariant: what it draws lies within its axes.

use std::fmt::Write;

/// Of the whole picture, and from its edges to the axes.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 56.0;
/// How wide a letter of a legend is, about.
const LETTER: f64 = 7.0;
/// About how many steps a straight axis has.
const STEPS: f64 = 5.0;
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#3d444d}.title{font-size:15px;font-weight:600}\
.grid{stroke:#8c959f;stroke-opacity:.3}.axis{stroke:#8c959f}\
.line{fill:none;stroke-width:2}.l0{stroke:#0969da}.l1{stroke:#bc4c00}.l2{stroke:#1a7f37}.l3{stroke:#8250df}\
.d0{fill:#0969da}.d1{fill:#bc4c00}.d2{fill:#1a7f37}.d3{fill:#8250df}\
@media(prefers-color-scheme:dark){text{fill:#d1d7e0}\
.l0{stroke:#4493f8}.l1{stroke:#f0883e}.l2{stroke:#3fb950}.l3{stroke:#ab7df8}\
.d0{fill:#4493f8}.d1{fill:#f0883e}.d2{fill:#3fb950}.d3{fill:#ab7df8}}";
/// How many colours there are.
const COLOURS: usize = 4;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Straight,
    /// By powers of ten.
    Powers,
}

/// A line and what it is called.
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A picture.
pub struct Chart<'a> {
    /// Above it.
    pub title: &'a str,
    /// What goes to the right, and how.
    pub x: (&'a str, Scale),
    /// What goes up, and how.
    pub y: (&'a str, Scale),
    /// What is drawn.
    pub curves: Vec<Curve>,
}

/// An axis with its ends; where a value is on it is a part of 1.
struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
}

impl Axis {
    /// From round number to round number around all values.
    fn around(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Self {
        let most = values.clone().fold(f64::MIN_POSITIVE, f64::max);
        match scale {
            Scale::Straight => {
                let step = step(most);
                let (from, to) = (0.0, (most / step).ceil() * step);
                Self { scale, from, to }
            }
            Scale::Powers => {
                let least = values.filter(|value| *value > 0.0).fold(most, f64::min);
                let from = 10_f64.powf(least.log10().floor());
                let to = 10_f64.powf(most.log10().ceil()).max(from * 10.0);
                Self { scale, from, to }
            }
        }
    }

    fn part(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Straight => (value - self.from) / (self.to - self.from),
            Scale::Powers => (value.max(self.from) / self.from).log10() / (self.to / self.from).log10(),
        };
        part.clamp(0.0, 1.0)
    }

    /// Where its lines are.
    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Straight => {
                let step = step(self.to);
                (0..=(self.to / step).round() as u32)
                    .map(|count| f64::from(count) * step)
                    .collect()
            }
            Scale::Powers => {
                let (from, to) = (self.from.log10().round() as i32, self.to.log10().round() as i32);
                (from..=to).map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

/// A round number, so that a few of it make the whole.
fn step(whole: f64) -> f64 {
    let rough = whole / STEPS;
    let power = 10_f64.powf(rough.log10().floor());
    let rounds = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    // The last is more than a tenth of a power.
    rounds
        .into_iter()
        .find(|round| *round >= rough * 0.999)
        .unwrap_or(power)
}

/// With commas between its digits, or as many places as it needs.
fn label(value: f64) -> String {
    if value != 0.0 && value.abs() < 1.0 {
        let text = format!("{value:.4}");
        return text.trim_end_matches('0').to_owned();
    }
    if value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Characters that stand for something in SVG, written out.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

impl Chart<'_> {
    /// The picture's text.
    pub fn draw(&self) -> String {
        let points = self.curves.iter().flat_map(|curve| &curve.points);
        let x = Axis::around(self.x.1, points.clone().map(|point| point.0));
        let y = Axis::around(self.y.1, points.map(|point| point.1));
        let mut svg = String::new();
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            svg,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{}</title><style>{STYLE}</style>"#,
            escaped(self.title)
        );
        let _ = writeln!(
            svg,
            r#"<text class="title" x="{LEFT}" y="24">{}</text>"#,
            escaped(self.title)
        );
        self.draw_axes(&mut svg, &x, &y);
        self.draw_legend(&mut svg);
        for (number, curve) in self.curves.iter().enumerate() {
            let places: Vec<(f64, f64)> = curve.points.iter().map(|point| place(&x, &y, *point)).collect();
            let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let colour = number % COLOURS;
            let _ = writeln!(svg, r#"<polyline class="line l{colour}" points="{}"/>"#, path.join(" "));
            // Many points make a line by themselves.
            for (x, y) in places.iter().filter(|_| places.len() <= 20) {
                let _ = writeln!(svg, r#"<circle class="d{colour}" cx="{x:.1}" cy="{y:.1}" r="3"/>"#);
            }
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in y.ticks() {
            let (_, at) = place(x, y, (x.from, tick));
            let text = label(tick);
            let _ = writeln!(svg, r#"<path class="grid" d="M{LEFT} {at:.1}H{right}"/>"#);
            let _ = writeln!(
                svg,
                r#"<text x="{}" y="{:.1}" text-anchor="end">{text}</text>"#,
                LEFT - 8.0,
                at + 4.0
            );
        }
        for tick in x.ticks() {
            let (at, _) = place(x, y, (tick, y.from));
            let text = label(tick);
            let _ = writeln!(svg, r#"<path class="grid" d="M{at:.1} {TOP}V{bottom}"/>"#);
            let _ = writeln!(
                svg,
                r#"<text x="{at:.1}" y="{}" text-anchor="middle">{text}</text>"#,
                bottom + 20.0
            );
        }
        let _ = writeln!(
            svg,
            r#"<path class="axis" fill="none" d="M{LEFT} {TOP}V{bottom}H{right}"/>"#
        );
        let _ = writeln!(
            svg,
            r#"<text x="{}" y="{}" text-anchor="middle">{}</text>"#,
            (LEFT + right) / 2.0,
            HEIGHT - 12.0,
            escaped(self.x.0)
        );
        let _ = writeln!(
            svg,
            r#"<text transform="translate(18 {}) rotate(-90)" text-anchor="middle">{}</text>"#,
            (TOP + bottom) / 2.0,
            escaped(self.y.0)
        );
    }

    /// One line alone needs none.
    fn draw_legend(&self, svg: &mut String) {
        let mut at = LEFT;
        for (number, curve) in self.curves.iter().enumerate().filter(|_| self.curves.len() > 1) {
            let colour = number % COLOURS;
            let _ = writeln!(svg, r#"<path class="line l{colour}" d="M{at} 44h18"/>"#);
            let _ = writeln!(svg, r#"<text x="{}" y="48">{}</text>"#, at + 24.0, escaped(&curve.name));
            at += 48.0 + LETTER * curve.name.chars().count() as f64;
        }
    }
}

fn place(x: &Axis, y: &Axis, point: (f64, f64)) -> (f64, f64) {
    let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    (LEFT + x.part(point.0) * width, TOP + (1.0 - y.part(point.1)) * height)
}
