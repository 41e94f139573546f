//! What Balance Inbox decides.
//!
//! Everything here is pure: the time is an argument, and nothing reads the environment or touches the
//! network. The AWS side (`shared/aws`) and the functions carry out what is decided here.
//!
//! A delivery travels through the modules in this order: [`delivery`] (what came) → [`signature`] or
//! [`url_token`] (who sent it) → [`providers`] (what it says) → [`event`] (what happened) → [`inbox`]
//! (what to write, and what a refusal means) → [`message`] (what goes on the queue) → [`reply`] (what the
//! caller hears).
//!
//! What no webhook told is found by asking: [`requests`] (what a caller wants submitted or watched) → [`poll`]
//! (what to ask Rightfoot, and what its answers mean, in the words of [`rightfoot`]) → [`event`].
//!
//! What is on the queue has its effect: [`message`] (which event it is about) → [`effect`] (what the provider's API
//! shows of it) → [`bus`] (what is told to whoever listens).
//!
//! What an operator sees and mends: [`state`] (how far an event has come), [`quarantine`] (what was proven and could
//! not be used, read again), and the [`intervention`] that he leaves on it.
//!
//! The promises P1–P10 that code and tests name:
//!
//! | id | promise |
//! |---|---|
//! | P1 | 2xx is answered for an event only after its record is durable. |
//! | P2 | Every recorded event reaches the queue, whatever crashes or is down meanwhile. |
//! | P3 | An event is put on the queue once; only a step whose outcome is unknown may repeat it, under the same id. |
//! | P4 | Nothing unproven becomes an event; the bytes stored are the bytes proven. |
//! | P5 | One batch gives one completion event, and at most one correction; one authorizer in one batch gives one alert effect. |
//! | P6 | Fynapse never gets a status that kills a delivery, nor a `Retry-After`. |
//! | P7 | What is proven and cannot be used is kept in quarantine, and can be replayed. |
//! | P8 | No secret, token, payload or personal datum in a log line, an error, a metric or a reply. |
//! | P9 | Every tracked batch ends. |
//! | P10 | An effect happens once, however often its message comes. |

pub mod allow_list;
pub mod audit;
pub mod bus;
pub mod delivery;
pub mod effect;
pub mod event;
pub mod inbox;
pub mod json;
pub mod keys;
pub mod lifecycle;
pub mod limits;
pub mod message;
pub mod poll;
pub mod providers;
pub mod quarantine;
pub mod reply;
pub mod requests;
pub mod rightfoot_api;
pub mod signature;
pub mod time;
pub mod url_token;
