//! Temporary credentials of the store itself, for engines that read a table's or volume's files without Tracegate.
//!
//! Whoever has one reads everything below its place until it ends, whatever is revoked meanwhile. So it takes what
//! reading by any other door takes and an `EXTERNAL_USE_…` besides, and what has a row filter or a mask is given to
//! nobody: the files hold what the rules hide.

use serde::Deserialize;
use serde_json::json;

use super::kinds::{denied, forbidden, missing, noun};
use super::places;
use super::sight::{self, Sight};
use super::{ATTEMPTS, kinds};
use crate::access::{Check, Location, Privilege, Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::{CatalogFault, Refusal};
use crate::http::own::sent_as;
use crate::http::pages;
use crate::http::trail::Trail;
use crate::objects::MintError;
use crate::policy::View;
use crate::store::{CatalogObject, Detail, Found, StoreError};
use crate::wire::{Malformed, Reply};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTable {
    table_id: String,
    operation: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfVolume {
    volume_id: String,
    operation: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPath {
    url: String,
    operation: String,
    /// Whether it is only asked if there would be a credential.
    dry_run: Option<bool>,
}

enum What {
    /// A table, view or volume by its id.
    Object(SecurableKind, String),
    Path(Location),
}

struct Asked {
    what: What,
    /// As the client wrote it.
    operation: String,
    /// What it needs on what it names; for a path, on the external location around it.
    needs: &'static [Privilege],
    writes: bool,
    dry_run: bool,
}

/// What was decided, all of it at one version of policy.
#[derive(Debug, PartialEq)]
struct Decided {
    location: Location,
    named: String,
}

pub(super) async fn answer(call: &mut Call<'_>, trail: &mut Trail, verb: &str) -> Result<Reply, Refusal> {
    let asked = match verb {
        "table" => of_table(sent_as(call).await?)?,
        "volume" => of_volume(sent_as(call).await?)?,
        "path" => of_path(sent_as(call).await?)?,
        _ => return Err(Refusal::UnknownEndpoint),
    };
    let call = &*call;
    let (decided, _) = decide(call, trail, &asked).await?;
    if asked.dry_run {
        return Ok(pages::written_text(200, json!({ "url": decided.location.as_str() }).to_string()));
    }
    let unable = |message: &str| Refusal::Catalog {
        fault: CatalogFault::Refused,
        code: "INVALID_STATE",
        message: message.to_owned(),
    };
    let no_store = "there are no temporary credentials for where this lies: only stores that speak S3 have them; read it \
                    through Tracegate";
    if !decided.location.as_str().starts_with("s3://") {
        return Err(unable(no_store));
    }
    let Some(minting) = &call.app.minting else {
        return Err(unable(
            "there are no temporary credentials here; an administrator can set `lake.credentials_role`",
        ));
    };
    let session = format!("tracegate-{}", trail.decision_id());
    let minted = minting.mint(decided.location.as_str(), asked.writes, &session).await.map_err(|error| {
        tracing::warn!(problem = %error, "no temporary credential was made");
        match error {
            MintError::NotOffered => unable(no_store),
            MintError::Refused(_) => {
                unable("the store gives no temporary credential for this; the log says why")
            }
            MintError::Away(_) => Refusal::Catalog {
                fault: CatalogFault::Away,
                code: "TEMPORARILY_UNAVAILABLE",
                message: "the store's credentials are not to be had now; send the call again".to_owned(),
            },
        }
    })?;
    // Once it is out it cannot be taken back: what was revoked, or got a rule, while it was made counts.
    let (again, version) = decide(call, trail, &asked).await?;
    if again != decided {
        return Err(forbidden("what was asked for was changed meanwhile; ask again".to_owned()));
    }
    let Decided { location, named } = decided;
    let until = minted.expires;
    trail
        .gives(
            format!("gives a credential for {named}: {} in `{location}` until {until}", asked.operation),
            version,
        )
        .await?;
    let mut reply = pages::written_text(
        200,
        json!({
            "aws_temp_credentials": {
                "access_key_id": minted.access_key_id,
                "secret_access_key": minted.secret_access_key.expose(),
                "session_token": minted.session_token.expose(),
            },
            "expiration_time": until,
            "url": location.as_str(),
        })
        .to_string(),
    );
    reply.headers.set("cache-control", "no-store");
    Ok(reply)
}

fn unknown(operations: &str) -> Refusal {
    Malformed::new("operation", format!("must be {operations}")).into()
}

fn of_table(sent: OfTable) -> Result<Asked, Refusal> {
    let (needs, writes): (&[Privilege], bool) = match sent.operation.as_str() {
        "READ" => (&[Privilege::Select], false),
        "READ_WRITE" => (&[Privilege::Select, Privilege::Modify], true),
        _ => return Err(unknown("`READ` or `READ_WRITE`")),
    };
    let what = What::Object(SecurableKind::Table, id("table_id", &sent.table_id)?);
    Ok(Asked { what, operation: sent.operation, needs, writes, dry_run: false })
}

fn of_volume(sent: OfVolume) -> Result<Asked, Refusal> {
    let (needs, writes): (&[Privilege], bool) = match sent.operation.as_str() {
        "READ_VOLUME" => (&[Privilege::ReadVolume], false),
        // Who writes with it reads with it.
        "WRITE_VOLUME" => (&[Privilege::ReadVolume, Privilege::WriteVolume], true),
        _ => return Err(unknown("`READ_VOLUME` or `WRITE_VOLUME`")),
    };
    let what = What::Object(SecurableKind::Volume, id("volume_id", &sent.volume_id)?);
    Ok(Asked { what, operation: sent.operation, needs, writes, dry_run: false })
}

fn of_path(sent: OfPath) -> Result<Asked, Refusal> {
    let (needs, writes): (&[Privilege], bool) = match sent.operation.as_str() {
        "PATH_READ" => (&[Privilege::ReadFiles], false),
        "PATH_READ_WRITE" => (&[Privilege::ReadFiles, Privilege::WriteFiles], true),
        // It reads and writes what lies there already, too.
        "PATH_CREATE_TABLE" => {
            (&[Privilege::CreateExternalTable, Privilege::ReadFiles, Privilege::WriteFiles], true)
        }
        _ => return Err(unknown("`PATH_READ`, `PATH_READ_WRITE` or `PATH_CREATE_TABLE`")),
    };
    let what = What::Path(places::written("url", &sent.url)?);
    Ok(Asked { what, operation: sent.operation, needs, writes, dry_run: sent.dry_run == Some(true) })
}

fn id(field: &str, text: &str) -> Result<String, Refusal> {
    let id = uuid::Uuid::parse_str(text).map_err(|_| Malformed::new(field, "must be a UUID"))?;
    Ok(id.to_string())
}

/// Lets in who may have it, and answers where it lies. When policy changes all along, everything is asked anew.
async fn decide(call: &Call<'_>, trail: &mut Trail, asked: &Asked) -> Result<(Decided, i64), Refusal> {
    for _ in 0..ATTEMPTS {
        let decision = Decision { call, view: call.view()? };
        let decided = match &asked.what {
            What::Object(kind, id) => decision.object(trail, asked, *kind, id).await?,
            What::Path(location) => decision.path(trail, asked, location).await?,
        };
        match decided {
            Some(decided) => return Ok((decided, decision.view.version())),
            None => call.app.confirm_policy().await?,
        }
    }
    Err(Refusal::Store(StoreError::Contended("policy changed all the while".to_owned())))
}

/// Every question of a call is answered by one version; `None` where something was read at another.
struct Decision<'c, 'a> {
    call: &'c Call<'a>,
    view: View,
}

impl Decision<'_, '_> {
    fn at<T>(&self, found: Found<T>) -> Option<T> {
        (found.version == self.view.version()).then_some(found.found)
    }

    /// Not by shadow mode: what leaves cannot be called back.
    fn allows(&self, trail: &mut Trail, privilege: Privilege, on: &Securable) -> Result<bool, Refusal> {
        trail.demands(on.to_string(), privilege.to_string());
        Ok(self.view.allows(self.call.caller, Check::new(privilege, on.clone()))?)
    }

    fn demand(&self, trail: &mut Trail, privilege: Privilege, on: &Securable) -> Result<(), Refusal> {
        match self.allows(trail, privilege, on)? {
            true => Ok(()),
            false => Err(denied(&self.call.caller.principal, privilege, on)),
        }
    }

    async fn object(
        &self,
        trail: &mut Trail,
        asked: &Asked,
        kind: SecurableKind,
        id: &str,
    ) -> Result<Option<Decided>, Refusal> {
        let store = &self.call.app.store;
        let Some(found) = self.at(store.catalog_object_of_id(kind, id).await?) else { return Ok(None) };
        // By its id, which is all that the caller may know of it.
        let gone = || Refusal::Catalog {
            fault: CatalogFault::Missing,
            code: match kind {
                SecurableKind::Volume => "VOLUME_DOES_NOT_EXIST",
                _ => "TABLE_DOES_NOT_EXIST",
            },
            message: format!("{} of id `{id}` does not exist", noun(kind)),
        };
        let object = found.ok_or_else(gone)?;
        let named = &object.securable;
        if sight::of_caller(&self.view, self.call.caller, named) != Sight::Full {
            return Err(gone());
        }
        for privilege in asked.needs {
            trail.demands(named.to_string(), privilege.to_string());
        }
        let location = files(&object)?;
        for privilege in asked.needs {
            self.demand(trail, *privilege, named)?;
        }
        let schema = named.parent().ok_or_else(|| missing(named))?;
        self.demand(trail, Privilege::ExternalUseSchema, &schema)?;
        let Some(there) = self.at(store.catalog_objects_at(location).await?) else { return Ok(None) };
        let data = |one: &Securable| matches!(one.kind, SecurableKind::Table | SecurableKind::Volume);
        // Never so by the rules of places; if it were, this would open the other.
        if there.iter().any(|one| data(one) && one != named) {
            return Err(forbidden(format!(
                "{} `{}` shares its files with something else",
                noun(kind),
                named.id
            )));
        }
        let Some(around) = self.at(store.external_location_of(location).await?) else { return Ok(None) };
        if asked.writes && around.as_ref().is_some_and(is_read_only) {
            return Err(forbidden(format!("{} `{}` lies where nothing is written", noun(kind), named.id)));
        }
        Ok(Some(Decided { location: location.clone(), named: format!("{named} ({id})") }))
    }

    async fn path(
        &self,
        trail: &mut Trail,
        asked: &Asked,
        location: &Location,
    ) -> Result<Option<Decided>, Refusal> {
        let app = self.call.app;
        let Some(around) = self.at(app.store.external_location_of(location).await?) else { return Ok(None) };
        // One answer for all of it: whether there is a location that the caller may not use is not told.
        let mut allowed = around.is_some();
        for privilege in asked.needs.iter().chain([&Privilege::ExternalUseLocation]) {
            if let Some(around) = &around {
                allowed &= self.allows(trail, *privilege, &around.securable)?;
            }
        }
        let Some(around) = around.filter(|_| allowed) else {
            let all: Vec<String> = asked.needs.iter().map(|need| format!("`{need}`")).collect();
            return Err(forbidden(format!(
                "`{location}` does not lie in an external location on which `{}` has {} and `{}`",
                self.call.caller.principal,
                all.join(", "),
                Privilege::ExternalUseLocation
            )));
        };
        if asked.writes && is_read_only(&around) {
            return Err(forbidden(format!(
                "{} `{}` is read-only",
                noun(SecurableKind::ExternalLocation),
                around.securable.id
            )));
        }
        let Some(there) = self.at(app.store.catalog_objects_at(location).await?) else { return Ok(None) };
        if !there.is_empty() || !self.is_outside(location) {
            return Err(Refusal::Catalog {
                fault: CatalogFault::Denied,
                code: "LOCATION_OVERLAP",
                message:
                    "the path overlaps with what the catalog keeps; ask for the credential of the table or \
                          volume itself"
                        .to_owned(),
            });
        }
        Ok(Some(Decided {
            location: location.clone(),
            named: format!("{} at `{location}`", around.securable),
        }))
    }

    /// Whether nothing of our own lies there: external locations may be older than the configuration.
    fn is_outside(&self, location: &Location) -> bool {
        let config = &self.call.app.config;
        let artifacts = config.mlflow.artifacts.as_ref().and_then(|place| place.parse::<Location>().ok());
        config.lake.may_be_external(location, &config.server.data_dir)
            && !artifacts.is_some_and(|artifacts| artifacts.overlaps(location))
    }
}

/// Where an object's files lie, if they may be read without Tracegate at all: whoever asks, administrators too.
fn files(object: &CatalogObject) -> Result<&Location, Refusal> {
    let of = &object.securable;
    match &object.detail {
        Detail::Table { columns, row_filter, .. } => {
            if row_filter.is_some() || columns.iter().any(|column| column.mask.is_some()) {
                return Err(forbidden(format!(
                    "table `{}` has a row filter or a column mask: there are no temporary credentials for it, for \
                     nobody; read it through Tracegate",
                    of.id
                )));
            }
        }
        Detail::Volume { .. } => {}
        _ => {
            return Err(forbidden(format!(
                "{} `{}` has no files of its own: there are no temporary credentials for it",
                kinds::noun(of.kind),
                of.id
            )));
        }
    }
    object.location.as_ref().ok_or_else(|| missing(of))
}

fn is_read_only(object: &CatalogObject) -> bool {
    matches!(object.detail, Detail::ExternalLocation { read_only: true, .. })
}
