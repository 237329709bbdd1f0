//! The proof that the engine decides as casbin does. It plays the engine's adversary: a mismatch is the worst
//! bug there is, so whatever both sides could get wrong together is written a second time here.
//!
//! | part | what it is |
//! |---|---|
//! | `world`, `generate` | small random worlds as plain facts, and changes to them |
//! | `rendering` | the same facts as casbin lines, a check as casbin requests; from the documentation alone |
//! | `oracle` | casbin's own enforcer and role manager over the whole policy |
//! | `meaning` | the rule of `policies/README.md`, transliterated |
//! | `compare`, `history` | all of these beside the engine, for each state of a world that changes |
//! | `runs` | the short run, and the long one of `make prove` |
//! | `faults` | faults planted into the engine, each of which must be found |
//! | `exhaustive` | tiny worlds, all of them |
//! | `properties` | what holds of every policy |
//!
//! `docs/POLICY-PROOF.md` says what was compared, and how often.

mod compare;
mod exhaustive;
mod faults;
mod generate;
mod history;
mod meaning;
mod oracle;
mod properties;
mod random;
mod rendering;
mod runs;
mod world;
