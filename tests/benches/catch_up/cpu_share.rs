//! Limits a process to a share of a processor, as Lambda does by a function's memory.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tests::lambda_process::cpu_time_of;

/// Memory of a function that has one processor, in MB
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
const PROCESSOR_MB: f64 = 1769.0;
/// Period of the limit: about that of Lambda's.
const PERIOD: Duration = Duration::from_millis(20);
/// Time between two looks at the process.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A limit on a process, until it is dropped. The process is stopped while it is ahead of its share.
pub(crate) struct CpuShare {
    is_over: Arc<AtomicBool>,
    limiter: Option<JoinHandle<()>>,
}

impl CpuShare {
    /// Limits a process to what Lambda gives a function of this memory.
    pub(crate) fn of_memory(memory_mb: u32, process_id: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let share = f64::from(memory_mb) / PROCESSOR_MB;
        let until = is_over.clone();
        let limiter = thread::spawn(move || Limiter::new(share, process_id).run(&until));
        Self { is_over, limiter: Some(limiter) }
    }
}

impl Drop for CpuShare {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.limiter.take().unwrap().join().unwrap();
    }
}

struct Limiter {
    share: f64,
    process_id: u32,
    /// A shell whose own command `kill` sends the signals, without a new process for each.
    shell: Child,
    signals: ChildStdin,
}

impl Limiter {
    fn new(share: f64, process_id: u32) -> Self {
        let mut shell = Command::new("sh").stdin(Stdio::piped()).spawn().unwrap();
        let signals = shell.stdin.take().unwrap();
        Self { share, process_id, shell, signals }
    }

    fn run(mut self, is_over: &AtomicBool) {
        let (mut looked_at, mut used) = (Instant::now(), cpu_time_of(self.process_id));
        // Processor time, in seconds, that the process may use now.
        let mut credit = 0.0;
        while !is_over.load(Ordering::Relaxed) {
            thread::sleep(LOOK_EVERY);
            let (now, used_now) = (Instant::now(), cpu_time_of(self.process_id));
            let earned = (now - looked_at).as_secs_f64() * self.share;
            // What is not used within a period is lost.
            credit = (credit + earned).min(PERIOD.as_secs_f64() * self.share)
                - used_now.saturating_sub(used).as_secs_f64();
            (looked_at, used) = (now, used_now);
            if credit < 0.0 {
                self.signal("STOP");
                thread::sleep(Duration::from_secs_f64(-credit / self.share));
                self.signal("CONT");
            }
        }
        drop(self.signals);
        self.shell.wait().unwrap();
    }

    fn signal(&mut self, name: &str) {
        // The process may have ended.
        writeln!(self.signals, "kill -{name} {} 2>&-", self.process_id).unwrap();
    }
}
