//! How long the hot machines take for their work, by the clock.
//!
//! `cargo bench --bench machines` (a part of a name behind `--` runs those only; `-- --help` lists the
//! rest). Each works alone on one thread, at sizes that show how its cost grows: `index.walk/10000` is one
//! turn of `index.walk` among 10,000. What a turn is stands in `benches/bench/machines.rs`. Clocks are as
//! quiet as the machine is; to compare two commits, count with `counts`.

mod bench;

use bench::machines::CASES;
use criterion::{BenchmarkId, Criterion};
use std::time::Duration;

/// Before a case counts, and while it does.
const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_secs(1);

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURED)
        .configure_from_args();
    for case in CASES {
        let mut group = criterion.benchmark_group(case.name);
        for size in case.sizes {
            group.bench_with_input(BenchmarkId::from_parameter(size), size, |bencher, size| {
                let mut turn = (case.make)(*size);
                bencher.iter(&mut turn);
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
