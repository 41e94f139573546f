//! Where calls wait until they may pass: to play several processes in any order.

use tokio::sync::{mpsc, oneshot};

use super::Call;

/// Which calls wait at the gate, and where they line up.
#[derive(Clone)]
pub(super) struct Turnstile {
    waits: fn(&Call) -> bool,
    line: mpsc::UnboundedSender<Waiting>,
}

struct Waiting {
    call: Call,
    go: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
}

/// Lets the calls of one process pass one by one: to play two processes in any order.
pub struct Gate {
    line: mpsc::UnboundedReceiver<Waiting>,
    /// The call at the gate.
    next: Option<Waiting>,
}

impl Gate {
    /// A gate, and where the calls that `waits` names line up.
    pub(super) fn new(waits: fn(&Call) -> bool) -> (Self, Turnstile) {
        let (line, waiting) = mpsc::unbounded_channel();
        (Self { line: waiting, next: None }, Turnstile { waits, line })
    }

    /// Waits for the next call, lets it pass, and waits until the engine has answered it.
    pub async fn step(&mut self) -> Option<Call> {
        self.step_before(std::future::pending::<()>()).await
    }

    /// The same, unless this ends before there is a call.
    pub async fn step_before(&mut self, end: impl Future) -> Option<Call> {
        self.wait_before(end).await;
        let waiting = self.next.take()?;
        let _ = waiting.go.send(());
        let _ = waiting.done.await;
        Some(waiting.call)
    }

    /// Waits until there is a call that waits, or this ends.
    pub async fn wait_before(&mut self, end: impl Future) {
        if self.next.is_none() {
            tokio::select! {
                biased;
                waiting = self.line.recv() => self.next = waiting,
                _ = end => {}
            }
        }
    }
}

impl Turnstile {
    /// Waits until this call may pass, if it is one that waits. What comes back tells the gate, when it is dropped,
    /// that the call is done.
    pub(super) async fn line_up(&self, call: &Call) -> Option<oneshot::Sender<()>> {
        if !(self.waits)(call) {
            return None;
        }
        let (go, may_go) = oneshot::channel();
        let (is_done, done) = oneshot::channel();
        self.line.send(Waiting { call: call.clone(), go, done }).ok()?;
        let _ = may_go.await;
        Some(is_done)
    }
}
