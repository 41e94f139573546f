//! Where calls wait until they may pass: to play several processes in any order.

use tokio::sync::{mpsc, oneshot};

use super::AwsCall;

/// Which calls wait at the gate, and where they line up.
#[derive(Clone)]
pub(super) struct StepQueue {
    is_held: fn(&AwsCall) -> bool,
    calls: mpsc::UnboundedSender<HeldCall>,
}

struct HeldCall {
    call: AwsCall,
    proceed: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
}

/// Lets the calls of one process pass one by one: to play two processes in any order.
pub struct StepGate {
    calls: mpsc::UnboundedReceiver<HeldCall>,
    /// The call at the gate.
    next: Option<HeldCall>,
}

impl StepGate {
    /// A gate, and where the calls that `waits` names line up.
    pub(super) fn new(is_held: fn(&AwsCall) -> bool) -> (Self, StepQueue) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { calls: receiver, next: None }, StepQueue { is_held, calls: sender })
    }

    /// Waits for the next call, lets it pass, and waits until the engine has answered it.
    pub async fn step(&mut self) -> Option<AwsCall> {
        self.step_until(std::future::pending::<()>()).await
    }

    /// The same, unless this ends before there is a call.
    pub async fn step_until(&mut self, end: impl Future) -> Option<AwsCall> {
        self.wait_for_call_until(end).await;
        let held = self.next.take()?;
        let _ = held.proceed.send(());
        let _ = held.done.await;
        Some(held.call)
    }

    /// Waits until there is a call that waits, or this ends.
    pub async fn wait_for_call_until(&mut self, end: impl Future) {
        if self.next.is_none() {
            tokio::select! {
                biased;
                waiting = self.calls.recv() => self.next = waiting,
                _ = end => {}
            }
        }
    }
}

impl StepQueue {
    /// Waits until this call may pass, if it is one that waits. What comes back tells the gate, when it is dropped,
    /// that the call is done.
    pub(super) async fn wait_turn(&self, call: &AwsCall) -> Option<oneshot::Sender<()>> {
        if !(self.is_held)(call) {
            return None;
        }
        let (proceed, may_proceed) = oneshot::channel();
        let (is_done, done) = oneshot::channel();
        self.calls.send(HeldCall { call: call.clone(), proceed, done }).ok()?;
        let _ = may_proceed.await;
        Some(is_done)
    }
}
