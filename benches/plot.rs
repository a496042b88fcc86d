//! Draws the pictures of `benches/FIGURES.md` from the tables that the other programs wrote.
//!
//! `cargo bench --bench plot`: reads `benches/figures/*.csv` and writes `benches/figures/*.svg`. What has
//! no table is left as it is, and that is printed.

mod bench;

use bench::failure;
use bench::plot::{Chart, Curve, Scale};
use std::io::ErrorKind;
use std::path::Path;

/// Where tables and pictures are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/figures");

/// What is drawn of a table.
struct Picture {
    /// The file to be written, without its ending.
    name: &'static str,
    /// The table, without its ending.
    table: &'static str,
    title: &'static str,
    /// The column that goes to the right, what it is called, and how it is divided.
    x: (&'static str, &'static str, Scale),
    /// What goes up is called, and how it is divided.
    y: (&'static str, Scale),
    lines: Lines,
}

/// Which lines a picture has.
enum Lines {
    /// One for each column, with its name.
    Columns(&'static [(&'static str, &'static str)]),
    /// One for each value of the first column, showing the second; the name stands behind the value.
    Values(&'static str, &'static str, &'static str),
}

const PICTURES: &[Picture] = &[
    Picture {
        name: "subscribers",
        table: "subscribers",
        title: "The server's time for a delivery, by subscribers of one stream",
        x: ("size", "subscribers", Scale::Powers),
        y: ("µs a delivery", Scale::Powers),
        lines: Lines::Values("workers", "cpu_us", "worker(s)"),
    },
    Picture {
        name: "streams",
        table: "streams",
        title: "The server's time for an event to one subscriber, by streams",
        x: ("size", "streams", Scale::Powers),
        y: ("µs a delivery", Scale::Straight),
        lines: Lines::Values("workers", "cpu_us", "worker(s)"),
    },
    Picture {
        name: "patterns",
        table: "patterns",
        title: "The server's time for an event, by patterns of the publisher's scope",
        x: ("size", "patterns", Scale::Powers),
        y: ("µs a delivery", Scale::Straight),
        lines: Lines::Values("workers", "cpu_us", "worker(s)"),
    },
    Picture {
        name: "ingest",
        table: "ingest",
        title: "Durable events a second, by streams",
        x: ("streams", "streams", Scale::Powers),
        y: ("events a second", Scale::Powers),
        lines: Lines::Values("batch", "events_s", "event(s) a request"),
    },
    Picture {
        name: "replay",
        table: "replay",
        title: "Events a second from the disk to a herd of readers, by stored streams",
        x: ("streams", "streams", Scale::Powers),
        y: ("events a second", Scale::Straight),
        lines: Lines::Columns(&[("events_s", "all readers together")]),
    },
    Picture {
        name: "soak",
        table: "soak",
        title: "Memory and files at half load",
        x: ("minute", "minutes", Scale::Straight),
        y: ("MiB", Scale::Straight),
        lines: Lines::Columns(&[
            ("resident_mib", "resident memory"),
            ("database_mib", "database"),
            ("wal_mib", "write-ahead log"),
        ]),
    },
    Picture {
        name: "soak_acks",
        table: "soak",
        title: "How long durable answers take at half load",
        x: ("minute", "minutes", Scale::Straight),
        y: ("ms", Scale::Straight),
        lines: Lines::Columns(&[("ack_p50_ms", "p50"), ("ack_p99_ms", "p99")]),
    },
    Picture {
        name: "connections",
        table: "connections",
        title: "What idle connections need",
        x: ("connections", "connections", Scale::Straight),
        y: ("MiB", Scale::Straight),
        lines: Lines::Columns(&[
            ("resident_mib", "the server"),
            ("tables_mib", "the system, for one end"),
        ]),
    },
];

/// A file of figures.
struct Figures {
    columns: Vec<String>,
    rows: Vec<Vec<f64>>,
}

fn main() -> std::io::Result<()> {
    for picture in PICTURES {
        let file = |name: &str, ending: &str| Path::new(FOLDER).join(format!("{name}.{ending}"));
        let text = match std::fs::read_to_string(file(picture.table, "csv")) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("{}: there is no table {}", picture.name, picture.table);
                continue;
            }
            Err(error) => return Err(error),
        };
        let chart = Chart {
            title: picture.title,
            x: (picture.x.1, picture.x.2),
            y: picture.y,
            curves: picture.lines.of(&Figures::parse(&text)?, picture.x.0)?,
        };
        std::fs::write(file(picture.name, "svg"), chart.draw())?;
        println!("{}: drawn", picture.name);
    }
    Ok(())
}

impl Figures {
    fn parse(text: &str) -> std::io::Result<Self> {
        let mut lines = text.lines();
        let columns: Vec<String> = lines.next().unwrap_or_default().split(',').map(str::to_owned).collect();
        let rows: Vec<Vec<f64>> = lines
            .map(|line| line.split(',').map(str::parse).collect())
            .collect::<Result<_, _>>()
            .map_err(std::io::Error::other)?;
        match rows.iter().all(|row| row.len() == columns.len()) {
            true => Ok(Self { columns, rows }),
            false => Err(failure("a row has more or fewer columns than the head")),
        }
    }

    fn column(&self, name: &str) -> std::io::Result<usize> {
        let at = self.columns.iter().position(|column| column == name);
        at.ok_or_else(|| failure(format!("there is no column {name}")))
    }
}

impl Lines {
    fn of(&self, figures: &Figures, x: &str) -> std::io::Result<Vec<Curve>> {
        let x = figures.column(x)?;
        match self {
            Lines::Columns(columns) => columns
                .iter()
                .map(|(column, name)| {
                    let y = figures.column(column)?;
                    let points = figures.rows.iter().map(|row| (row[x], row[y])).collect();
                    let name = (*name).to_owned();
                    Ok(Curve { name, points })
                })
                .collect(),
            Lines::Values(by, column, name) => {
                let (by, y) = (figures.column(by)?, figures.column(column)?);
                let mut values: Vec<f64> = figures.rows.iter().map(|row| row[by]).collect();
                values.sort_unstable_by(f64::total_cmp);
                values.dedup();
                let curve = |value: f64| Curve {
                    name: format!("{value:.0} {name}"),
                    points: figures
                        .rows
                        .iter()
                        .filter(|row| row[by] == value)
                        .map(|row| (row[x], row[y]))
                        .collect(),
                };
                Ok(values.into_iter().map(curve).collect())
            }
        }
    }
}
