//! What the system says of the processor's time that the server took.
//! How long a running program was on a processor: what all its threads took, system calls included.
//! How long a running program was on a processor, system calls included, to the nanosecond.

use crate::bench::failure;
use std::time::Duration;

/// Linux counts time for programs in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);
/// Where the time that a program took, its own and the system's for it, stands behind its name.
const OWN: usize = 11;

/// The processor's time that a running program took so far, to a hundredth of a second.
pub fn spent(pid: u32) -> std::io::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = |text: &str| {
        // The name may have spaces and brackets in it; what follows the last one has none.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(OWN);
        let own: u32 = fields.next()?.parse().ok()?;
        let system: u32 = fields.next()?.parse().ok()?;
        Some(own + system)
    };
    let ticks = ticks(&text).ok_or_else(|| failure("the system does not say how much time it took"))?;
    Ok(TICK * ticks)
/// Since it started, to the nanosecond; threads that have ended do not count.
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
