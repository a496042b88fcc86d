//! How long a running program was on a processor, system calls included, to the nanosecond.

use crate::bench::failure;
use std::time::Duration;

/// All its threads together, since it started; those that have ended do not count.
pub fn spent(pid: u32) -> std::io::Result<Duration> {
    spent_by(pid, |_| true)
}

/// The threads of some names together.
pub fn spent_by(pid: u32, is_one: impl Fn(&str) -> bool) -> std::io::Result<Duration> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let folder = thread?.path();
        let read = |file: &str| std::fs::read_to_string(folder.join(file));
        // A thread may end in between.
        let (Ok(name), Ok(text)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        let nanos = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        let nanos = nanos.ok_or_else(|| failure("the system does not say how long a thread ran"))?;
        if is_one(name.trim_end()) {
            sum += nanos;
        }
    }
    Ok(Duration::from_nanos(sum))
}
