//! `local` as a process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Options for a process that shares nothing with another one. The console takes any free port by itself.
pub(crate) const IN_MEMORY_ON_FREE_PORTS: [&str; 5] =
    ["--memory", "--http-port=0", "--aws-port=0", "--rightfoot-port=0", "--fynapse-port=0"];

/// A running `local`, and what it has logged so far.
pub(crate) struct LocalProcess {
    pub(crate) process: Child,
    pub(crate) webhook_url: String,
    /// What it has printed before it was ready.
    pub(crate) announced: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl LocalProcess {
    /// Starts it on free ports, and returns once it is ready.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut local = Command::new(env!("CARGO_BIN_EXE_local"));
        local.args(IN_MEMORY_ON_FREE_PORTS).args(args);
        local.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_clear();
        let mut process = local.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let started: Vec<_> = stdout.lines().map(Result::unwrap).take_while(|line| line != "ready").collect();
        let url = started.iter().find_map(|line| line.strip_prefix("Fynapse's endpointUrl ")).unwrap();
        let webhook_url = url.trim().to_owned();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (lines, stderr) = (log.clone(), BufReader::new(process.stderr.take().unwrap()));
        std::thread::spawn(move || stderr.lines().for_each(|line| lines.lock().unwrap().push(line.unwrap())));
        Self { process, webhook_url, announced: started, log }
    }

    /// Waits until each of these texts is in a line, and returns the lines.
    pub(crate) async fn log_with(&self, texts: &[&str]) -> Vec<String> {
        for _ in 0..3_000 {
            let lines = self.log.lock().unwrap().clone();
            if texts.iter().all(|text| lines.iter().any(|line| line.contains(text))) {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{texts:?} is missing in {:?}", self.log.lock().unwrap());
    }
}

impl Drop for LocalProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
