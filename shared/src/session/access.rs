//! What an access token brings to whoever reads its session: a protected function, the authorizer, or a refresh that was
//! shown an expired one (DESIGN.md section 5, «Older generations anywhere»).

use super::{Generation, Kind, Presented, Session};
use crate::clock::Timestamp;

/// Seconds after a rotation for which requests under way may still show the generation before.
pub const IN_FLIGHT_WINDOW: u64 = 60;

/// What an access token brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessDecision {
    /// The current generation, or the one before it in a request that was under way at the rotation: it goes on.
    Accept,
    /// An older one in an app's session, whose queues keep requests: it goes on, and is a security event.
    AcceptStale,
    /// The generation before, longer after the rotation than a request is under way: as if expired, so that the client
    /// refreshes, where its key decides. The newest cookie may have been in a lost answer. Also an older one in a request
    /// whose body may have been that long under way.
    Expired,
    /// An older one in a browser's session: it was used elsewhere, and the session must end.
    Reuse,
    /// The session has ended, is of another kind, or was never at that generation (a restored table).
    Ended,
}

impl Session {
    /// Decides what a genuine access token of this session brings. `may_be_slow` says whether the request's body is so
    /// large that it may have been under way for long. Whether the session is of its user's epoch is
    /// [`Session::belongs_to`]'s question, which every caller asks too.
    pub fn access(&self, presented: Presented, may_be_slow: bool, now: Timestamp) -> AccessDecision {
        if self.is_expired(now) || presented.kind != self.kind || presented.generation > self.generation {
            return AccessDecision::Ended;
        }
        if presented.generation == self.generation {
            return AccessDecision::Accept;
        }
        if self.kind == Kind::App {
            return AccessDecision::AcceptStale;
        }
        if presented.generation.next() == self.generation {
            let is_in_flight = now.seconds_since(self.rotated_at) <= IN_FLIGHT_WINDOW;
            return if is_in_flight { AccessDecision::Accept } else { AccessDecision::Expired };
        }
        if may_be_slow { AccessDecision::Expired } else { AccessDecision::Reuse }
    }

    /// Whether this is still the generation that somebody read who wants it renewed or ended.
    pub fn is_at(&self, generation: Generation) -> bool {
        self.generation == generation
    }
}
