//! What the record promises, tried: nothing acknowledged is lost, nothing changed goes unseen, and what
//! cannot be recorded is refused.

mod faults;
mod fixture;
mod index;
mod life;
mod mirror;
mod recovery;
mod retention;
mod shipping;
mod signatures;
mod tamper;
