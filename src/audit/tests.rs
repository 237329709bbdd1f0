//! What the record promises, tried: nothing acknowledged is lost, nothing changed goes unseen, and what
//! cannot be recorded is refused.

mod fixture;
mod life;
mod recovery;
mod shipping;
mod signatures;
mod tamper;
