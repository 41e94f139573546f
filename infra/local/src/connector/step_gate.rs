//! Holding of AWS calls until a test releases them, to interleave several processes in any order.

use tokio::sync::{mpsc, oneshot};

use super::AwsCall;

/// Sending side of a gate: holds the selected calls.
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

/// Receiving side of a gate: releases the held calls of one process one by one.
pub struct StepGate {
    calls: mpsc::UnboundedReceiver<HeldCall>,
    /// The call that the next step releases, once it has arrived.
    next: Option<HeldCall>,
}

impl StepGate {
    /// Creates a gate for the calls for which `is_held` is true.
    pub(super) fn new(is_held: fn(&AwsCall) -> bool) -> (Self, StepQueue) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { calls: receiver, next: None }, StepQueue { is_held, calls: sender })
    }

    /// Waits for the next call, releases it, and returns it once it has its response. `None` if no more calls can come.
    pub async fn step(&mut self) -> Option<AwsCall> {
        self.step_until(std::future::pending::<()>()).await
    }

    /// Like [`step`](Self::step), but returns `None` if `end` completes before there is a call.
    pub async fn step_until(&mut self, end: impl Future) -> Option<AwsCall> {
        self.wait_for_call_until(end).await;
        let held = self.next.take()?;
        let _ = held.proceed.send(());
        // The sender is only ever dropped, so this ends with an error, also if the call was cancelled.
        let _ = held.done.await;
        Some(held.call)
    }

    /// Waits until a call is held or `end` completes.
    pub async fn wait_for_call_until(&mut self, end: impl Future) {
        if self.next.is_none() {
            tokio::select! {
                // A call that is already held wins over `end`.
                biased;
                held = self.calls.recv() => self.next = held,
                _ = end => {}
            }
        }
    }
}

impl StepQueue {
    /// Waits until the gate releases this call, if it is one to hold. Dropping the returned guard tells the gate that the
    /// call is done.
    pub(super) async fn wait_turn(&self, call: &AwsCall) -> Option<oneshot::Sender<()>> {
        if !(self.is_held)(call) {
            return None;
        }
        let (proceed, may_proceed) = oneshot::channel();
        let (is_done, done) = oneshot::channel();
        // Without a gate, nothing would release the call, so it proceeds at once.
        self.calls.send(HeldCall { call: call.clone(), proceed, done }).ok()?;
        // An error means that the gate was dropped while the call waited: the call proceeds, too.
        let _ = may_proceed.await;
        Some(is_done)
    }
}
