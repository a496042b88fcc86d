//! Rows of figures for other programs: comma-separated, with a head, as `benches/figures` draws them.
//!
//! Invariant: every row is on the disk as soon as it is known, so that a run that is ended has its rows.

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// A file that rows are appended to; or none, if nobody asked for one.
pub struct Table(Option<File>);

impl Table {
    /// Begins the file anew with these columns.
    pub fn begin(path: Option<&Path>, columns: &[&str]) -> std::io::Result<Self> {
        let file = path.map(File::create).transpose()?;
        let mut table = Self(file);
        table.write(&columns.join(","))?;
        Ok(table)
    }

    /// Appends a row.
    pub fn row(&mut self, values: &[f64]) -> std::io::Result<()> {
        let values: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
        self.write(&values.join(","))
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        match &mut self.0 {
            Some(file) => writeln!(file, "{line}"),
            None => Ok(()),
        }
    }
}
