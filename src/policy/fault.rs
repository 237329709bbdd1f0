//! Faults that the proof plants into the engine, one at a time, to see that it would notice (`proof/faults.rs`).
//! Outside of tests there are none, and asking for one compiles to nothing.

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Fault { $($(#[$doc])* $name,)* }

        #[cfg(test)]
        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

faults! {
    DenyIgnored,
    DenyBindsAdministrators,
    /// A deny of `OWNER` does not deny what only an owner has on the securable itself.
    OwnersDenyForgotten,
    ExpiryIgnored,
    /// A grant still counts in the millisecond in which it ends.
    ExpiryLate,
    /// Who left a group keeps what it gave.
    StaleAfterLeave,
    /// A change between two groups does not reach those inside the inner one.
    StaleForNested,
    /// A group that everybody is in through `users` reaches nobody who was known before.
    StaleForUsers,
    /// Of several groups that one is in, only the first counts.
    FirstGroupOnly,
    /// What a credential's groups are in does not count.
    AssertedGroupsNotClosed,
    /// Who is unknown is not even a member of `users`.
    StrangersAreNobody,
    /// An owner may do inside what it owns whatever it may do to it.
    OwnerInherited,
    ManageInAllPrivileges,
    CatalogGateSkipped,
    SchemaGateSkipped,
    ManageNeedsUse,
    MoveIgnored,
    /// Four levels above a securable, grants are not seen.
    DeepTreeCut,
    /// The eighth grant of a row, which the brief has no room for, is not looked for elsewhere.
    BriefTooLong,
    BriefEndsForgotten,
    BriefDeniesShifted,
    /// Who joined a group is still sieved as before.
    SieveStale,
    FirstRunMissed,
    LastRunMissed,
    /// A new grant goes to the end of its row, where the search in a long row does not look.
    InsertedUnsorted,
    RevokeIgnored,
    /// A grant that is written again counts twice, as it was and as it is.
    ReplacedStays,
    DeactivationIgnored,
    InapplicableAllowed,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault for this thread, or takes it away.
#[cfg(test)]
pub(super) fn plant(planted: Option<Fault>) {
    PLANTED.set(planted);
}

#[cfg(test)]
pub(super) fn fault(asked: Fault) -> bool {
    PLANTED.get() == Some(asked)
}

#[cfg(not(test))]
pub(super) const fn fault(_: Fault) -> bool {
    false
}
