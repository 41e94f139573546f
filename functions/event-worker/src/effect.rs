//! What an event brings about.

mod alerts;
mod completed;

use inbox_aws::Fault;
use inbox_aws::bus::Published;
use inbox_aws::inbox::Work;
use inbox_core::bus::{Announcement, extracted};
use inbox_core::event::EventKey;
use inbox_core::inbox::Reason;

use crate::EventWorker;
use crate::work::{Later, Verdict};

impl EventWorker {
    /// Brings about the effect of a claimed event.
    pub(crate) async fn effect_of(&self, work: &Work) -> Result<Verdict, Fault> {
        match work.key() {
            EventKey::RightfootCompletion { batch_id } => self.completed(work, batch_id).await,
            EventKey::RightfootAlert { batch_id, .. } | EventKey::RightfootPolledAlert { batch_id, .. } => {
                self.alerts(work, batch_id).await
            }
            EventKey::Fynapse { .. } => self.extracted(work).await,
        }
    }

    async fn extracted(&self, work: &Work) -> Result<Verdict, Fault> {
        let payload = self.inbox.work_payload(work).await?;
        let whole = extracted(&work.effect(), &payload, false);
        match self.announce(&whole).await {
            // EventBridge is stricter than its documents: by reference it has nothing to find fault with.
            Verdict::Never(_) => Ok(self.announce(&extracted(&work.effect(), &payload, true)).await),
            verdict @ (Verdict::Done | Verdict::DoneUntracked(_) | Verdict::Later(_)) => Ok(verdict),
        }
    }

    /// Publishes the one announcement that an event is about.
    async fn announce(&self, announcement: &Announcement) -> Verdict {
        let published = self.bus.publish(std::slice::from_ref(announcement)).await.pop();
        match published {
            Some(Published::Published) => {
                metrics::counter!("published", "type" => announcement.detail_type).increment(1);
                Verdict::Done
            }
            Some(Published::Refused(fault)) => {
                not_published(announcement, &fault);
                Verdict::Never(Reason::BusRefused)
            }
            Some(Published::Failed(fault)) => {
                not_published(announcement, &fault);
                Verdict::Later(Later::because("bus"))
            }
            None => Verdict::Later(Later::because("bus")),
        }
    }
}

fn not_published(announcement: &Announcement, fault: &Fault) {
    let detail_type = announcement.detail_type;
    tracing::warn!(target: "work", detail_type, %fault, "not published");
}
