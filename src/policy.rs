//! policy

pub struct Permit(());

impl Permit {
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self(())
    }
}
