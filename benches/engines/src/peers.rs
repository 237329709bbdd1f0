//! What Tracegate's engine is compared with. Each is given the same world in the form that suits it best, and the
//! same questions, made ready in its own types beforehand.
//!
//! A question on a table asks for three things, `USE_CATALOG`, `USE_SCHEMA` and the privilege itself; each engine is
//! called until one is refused.

pub mod casbin;
#[cfg(feature = "peers")]
pub mod cedar;
#[cfg(feature = "peers")]
pub mod regorus;

use anyhow::Result;

use crate::questions::Question;
use crate::world::World;

pub trait Peer: Sized {
    /// One thing to be allowed, as the engine's own call wants it.
    type Check;

    fn check(&self, world: &World, user: u32, securable: u32, privilege: &str) -> Result<Self::Check>;

    fn allows(&mut self, check: &Self::Check) -> Result<bool>;

    fn prepare(&self, world: &World, questions: &[Question]) -> Result<Vec<Vec<Self::Check>>> {
        let one = |question: &Question| {
            world
                .checks(question.securable, question.privilege)
                .into_iter()
                .map(|(at, privilege)| self.check(world, question.user, at, privilege.as_str()))
                .collect()
        };
        questions.iter().map(one).collect()
    }

    fn allows_all(&mut self, checks: &[Self::Check]) -> Result<bool> {
        for check in checks {
            if !self.allows(check)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
