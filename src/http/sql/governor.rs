//! What each name of a statement means to its caller: decided at one version of policy, and noted.
//!
//! What the caller may not see is answered as if it were not there. Below a view its owner and whoever wrote its
//! definition decide, both: who gives a view away does not read with the rights of who got it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::system::{self, System};
use crate::access::{Caller, Check, Principal, Privilege, Proof, Scheme, Securable, SecurableKind};
use crate::app::App;
use crate::app::statements::{Touched, Witness};
use crate::http::catalog::{Sight, sight_in};
use crate::lake::sql::{self, Function, Refused, Relation, Rules, TableName};
use crate::policy::{Unavailable, View};
use crate::store::{CatalogObject, Detail, StoreError};

pub(in crate::http) struct Governor {
    pub(super) app: Arc<App>,
    pub(super) caller: Caller,
    /// Every question of a statement is answered by this.
    pub(super) view: View,
    noted: Mutex<Witness>,
    moved: AtomicBool,
}

/// What a name is, once it is let in.
enum Meaning {
    Object(Box<CatalogObject>, Rules),
    System(System),
}

impl Governor {
    pub fn new(app: &Arc<App>, caller: &Caller) -> Result<Self, Unavailable> {
        Ok(Self {
            app: Arc::clone(app),
            caller: caller.clone(),
            view: app.policy.view()?,
            noted: Mutex::default(),
            moved: AtomicBool::new(false),
        })
    }

    /// All that was decided so far.
    pub fn witness(&self) -> Witness {
        self.noted.lock().clone()
    }

    pub fn version(&self) -> i64 {
        self.view.version()
    }

    /// Whether the catalog was changed since the version that is decided at. Then nothing was decided.
    pub fn has_moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed)
    }

    /// Whether everything still means to the caller what it meant when rows were read.
    pub async fn still_holds(&self, witness: &Witness) -> Result<(), Refused> {
        for touched in &witness.touched {
            let meaning = self.meaning(&touched.name, &touched.through).await?;
            if written(&meaning) != touched.meaning {
                return Err(Refused::Denied(format!(
                    "what `{}` shows was changed since the statement ran; run it again",
                    full(&touched.name)
                )));
            }
        }
        for (name, was) in &witness.functions {
            if self.callable(name).await? != *was {
                return Err(Refused::Denied(format!(
                    "function `{}` was changed since the statement ran; run it again",
                    full(name)
                )));
            }
        }
        match witness.members.iter().find(|(group, was)| sql::Governor::is_member(self, group) != **was) {
            Some(_) => Err(Refused::Denied("groups were changed since the statement ran".to_owned())),
            None => Ok(()),
        }
    }

    pub(super) fn allows(&self, privilege: Privilege, on: &Securable) -> Result<bool, Refused> {
        self.note(privilege, on);
        self.view.allows(&self.caller, Check::new(privilege, on.clone())).map_err(unavailable)
    }

    fn note(&self, privilege: Privilege, on: &Securable) {
        let demand = (on.to_string(), privilege.to_string());
        let mut noted = self.noted.lock();
        if !noted.demands.contains(&demand) {
            noted.demands.push(demand);
        }
    }

    pub(super) fn sight(&self, securable: &Securable) -> Sight {
        sight_in(&self.view, &self.caller, securable)
    }

    /// Refuses what was read at another version than everything else is decided at.
    pub(super) fn at<T>(&self, found: crate::store::Found<T>) -> Result<T, Refused> {
        if found.version == self.version() {
            return Ok(found.found);
        }
        self.moved.store(true, Ordering::Relaxed);
        Err(Refused::Unavailable(
            "policy was changed while the statement was planned; run it again".to_owned(),
        ))
    }

    fn touch(&self, touched: Touched) {
        let mut noted = self.noted.lock();
        if !noted.touched.contains(&touched) {
            noted.touched.push(touched);
        }
    }

    async fn object(&self, kind: SecurableKind, name: &TableName) -> Result<Option<CatalogObject>, Refused> {
        // What can be no name names nothing.
        let Ok(named) = Securable::new(kind, &full(name)) else { return Ok(None) };
        self.at(self.app.store.catalog_object(&named).await.map_err(of_store)?)
    }

    async fn meaning(&self, name: &TableName, through: &[TableName]) -> Result<Meaning, Refused> {
        if let Some(system) = System::named(name) {
            return system.admitted(self, name).map(Meaning::System);
        }
        let missing = || Refused::Missing(full(name));
        let object = self.object(SecurableKind::Table, name).await?.ok_or_else(missing)?;
        match through.last() {
            None => self.admits(&object.securable, Privilege::Select, missing)?,
            Some(view) => self.owner_reads(view, &object.securable).await?,
        }
        let rules = self.rules(&object).await?;
        if self.caller.actor.is_some() && (rules.row_filter.is_some() || !rules.masks.is_empty()) {
            // Whose groups its functions would ask for is not one person's.
            return Err(Refused::Denied(format!(
                "`{}` has a row filter or a mask, and is not read on behalf of somebody else",
                full(name)
            )));
        }
        Ok(Meaning::Object(Box::new(object), rules))
    }

    fn admits(
        &self,
        on: &Securable,
        privilege: Privilege,
        missing: impl FnOnce() -> Refused,
    ) -> Result<(), Refused> {
        if self.allows(privilege, on)? {
            return Ok(());
        }
        Err(match self.sight(on) {
            Sight::Hidden => missing(),
            _ => Refused::Denied(format!(
                "`{}` does not have `{privilege}` on {} `{}`",
                self.caller.principal,
                on.kind.as_str(),
                on.id
            )),
        })
    }

    /// Lets a view read what its owner and whoever defined it may read. What lies below is not named to its reader.
    async fn owner_reads(&self, view: &TableName, below: &Securable) -> Result<(), Refused> {
        let refuse = || {
            Refused::Denied(format!(
                "view `{}` reads something that its owner, or who defined it, may not read",
                full(view)
            ))
        };
        let object = self.object(SecurableKind::View, view).await?.ok_or_else(refuse)?;
        let Detail::View { definer, .. } = &object.detail else { return Err(refuse()) };
        let definer: Principal =
            definer.as_ref().unwrap_or(&object.created_by).parse().map_err(|_| refuse())?;
        self.note(Privilege::Select, below);
        for principal in [object.owner.ok_or_else(refuse)?, definer] {
            let snapshot = self.view.snapshot();
            if snapshot.principal_index(&principal).is_none() || snapshot.is_inactive(&principal) {
                return Err(refuse());
            }
            let proof = Proof { scheme: Scheme::Token, credential: format!("view {}", object.id) };
            let caller = Caller::new(principal, Vec::new(), proof);
            let check = Check::new(Privilege::Select, below.clone());
            if !self.view.allows(&caller, check).map_err(unavailable)? {
                return Err(refuse());
            }
        }
        Ok(())
    }

    async fn rules(&self, object: &CatalogObject) -> Result<Rules, Refused> {
        let Detail::Table { columns, row_filter, .. } = &object.detail else { return Ok(Rules::default()) };
        let of = &object.securable;
        let row_filter = match row_filter {
            Some(filter) => {
                let arguments = filter.input_column_names.clone();
                Some(self.rule(of, &filter.function_name, filter.function_id.as_deref(), arguments).await?)
            }
            None => None,
        };
        let mut masks = BTreeMap::new();
        for column in columns {
            let Some(mask) = &column.mask else { continue };
            let mut arguments = vec![column.name.clone()];
            arguments.extend(mask.using_column_names.iter().cloned());
            let call = self.rule(of, &mask.function_name, mask.function_id.as_deref(), arguments).await?;
            masks.insert(column.name.clone(), call);
        }
        Ok(Rules { row_filter, masks })
    }

    /// A function that the caller may call by name.
    async fn callable(&self, name: &TableName) -> Result<Function, Refused> {
        let missing = || Refused::Missing(full(name));
        let object = self.object(SecurableKind::Function, name).await?.ok_or_else(missing)?;
        self.admits(&object.securable, Privilege::Execute, missing)?;
        function_of(&object)
            .ok_or_else(|| Refused::Denied(format!("function `{}` has no SQL expression to run", full(name))))
    }

    /// A filter or mask. Without its function, or with another one of its name, nobody reads the table.
    async fn rule(
        &self,
        table: &Securable,
        function: &str,
        id: Option<&str>,
        arguments: Vec<String>,
    ) -> Result<sql::Call, Refused> {
        let refuse = || {
            Refused::Denied(format!(
                "the function of a row filter or mask of `{}` is gone; whoever manages the table can set or drop it",
                table.id
            ))
        };
        let named = Securable::new(SecurableKind::Function, function).map_err(|_| refuse())?;
        let found = self.at(self.app.store.catalog_object(&named).await.map_err(of_store)?)?;
        let object = found.filter(|object| id == Some(object.id.as_str())).ok_or_else(refuse)?;
        Ok(sql::Call { function: function_of(&object).ok_or_else(refuse)?, arguments })
    }
}

#[async_trait]
impl sql::Governor for Governor {
    async fn relation(&self, name: &TableName, through: &[TableName]) -> Result<Relation, Refused> {
        let meaning = self.meaning(name, through).await?;
        let touched = Touched { name: name.clone(), through: through.to_vec(), meaning: written(&meaning) };
        self.touch(touched);
        match meaning {
            Meaning::System(system) => Ok(Relation::Rows(system::rows(self, system).await?)),
            Meaning::Object(object, rules) => match (object.detail, object.location) {
                (Detail::View { definition, .. }, _) => Ok(Relation::View { definition }),
                (_, Some(location)) => Ok(Relation::Table { place: location.to_string(), rules }),
                _ => Err(Refused::Missing(full(name))),
            },
        }
    }

    async fn function(&self, name: &TableName) -> Result<Function, Refused> {
        let function = self.callable(name).await?;
        self.noted.lock().functions.insert(name.clone(), function.clone());
        Ok(function)
    }

    fn current_user(&self) -> String {
        self.caller.principal.name.clone()
    }

    fn is_member(&self, group: &str) -> bool {
        let is = Principal::group(group).is_ok_and(|group| self.view.acts_as(&self.caller, &group));
        self.noted.lock().members.insert(group.to_owned(), is);
        is
    }
}

fn written(meaning: &Meaning) -> String {
    match meaning {
        Meaning::System(system) => format!("{system:?}"),
        Meaning::Object(object, rules) => {
            let definition = match &object.detail {
                Detail::View { definition, .. } => definition.as_str(),
                _ => "",
            };
            format!("{} {:?} {rules:?} {definition}", object.id, object.location)
        }
    }
}

/// A function as the catalog holds it, if it is one SQL expression.
pub(in crate::http) fn function_of(object: &CatalogObject) -> Option<Function> {
    let Detail::Function { definition } = &object.detail else { return None };
    let text = |key: &str| definition.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    if definition.get("routine_body").is_some_and(|body| body != "SQL") {
        return None;
    }
    let listed = definition.get("input_params").and_then(|params| params.get("parameters"));
    let mut parameters = Vec::new();
    for parameter in listed.and_then(serde_json::Value::as_array).into_iter().flatten() {
        let of = |key: &str| parameter.get(key).and_then(serde_json::Value::as_str);
        parameters.push((of("name")?.to_owned(), of("type_text").or_else(|| of("type_name"))?.to_owned()));
    }
    let returns = text("full_data_type").or_else(|| text("data_type")).unwrap_or_else(|| "STRING".to_owned());
    Some(Function {
        name: object.securable.id.clone(),
        parameters,
        returns,
        body: text("routine_definition")?,
    })
}

pub(super) fn full(name: &TableName) -> String {
    format!("{}.{}.{}", name.catalog, name.schema, name.table)
}

pub(super) fn of_store(error: StoreError) -> Refused {
    tracing::error!(%error, "the store failed");
    Refused::Unavailable("Tracegate's own state cannot be reached".to_owned())
}

pub(super) fn unavailable(error: Unavailable) -> Refused {
    Refused::Unavailable(format!("no decision can be made now: {error}"))
}
