//! What can be changed of a host itself, and how it leaves.

use askama::Template;
use restic_manager_core::api::HostPatch;
use restic_manager_core::id::HostId;
use restic_manager_core::model::Host;
use restic_manager_core::text::{DisplayName, Tag};

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::form::Form;
use super::frame::{Frame, Tab, Visitor};
use super::host_head::{HostHead, HostTab};
use super::table::{Route, act, look};
use super::{page, see_other};
use crate::app::HostSeen;

pub(super) fn routes() -> Vec<Route> {
    vec![
        look("/hosts/{id}/settings", show),
        act("/hosts/{id}/settings", save),
        act("/hosts/{id}/delete", delete),
    ]
}

#[derive(Template)]
#[template(path = "host_settings.html")]
struct HostSettings {
    frame: Frame,
    head: HostHead,
    id: String,
    name: String,
    form: Form,
}

async fn show(visitor: Visitor, ask: Ask) -> Answer {
    let seen = ask.state.app.host_seen(ask.id("id", "host")?).await?;
    let form = of_host(&seen.host);
    render(visitor, &seen, form)
}

fn render(visitor: Visitor, seen: &HostSeen, form: Form) -> Answer {
    let name = seen.host.name.to_string();
    page(
        form.status(),
        &HostSettings {
            head: HostHead::new(seen, HostTab::Settings),
            id: seen.host.id.to_string(),
            frame: visitor.frame.of(Tab::Fleet, format!("Settings of {name}")),
            name,
            form,
        },
    )
}

fn of_host(host: &Host) -> Form {
    let limit = |kib: Option<u32>| kib.map_or_else(String::new, |kib| kib.to_string());
    Form::with([
        ("name", host.name.to_string()),
        ("tags", host.tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ")),
        ("limit_upload_kib", limit(host.limit_upload_kib)),
        ("limit_download_kib", limit(host.limit_download_kib)),
    ])
}

async fn save(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: HostId = ask.id("id", "host")?;
    let seen = ask.state.app.host_seen(id).await?;
    let mut form = Form::typed(&fields);
    let Some(patch) = written(&seen.host, &fields, &mut form) else { return render(visitor, &seen, form) };
    let overview = see_other(&format!("/hosts/{id}"));
    let unchanged = patch.name.is_none()
        && patch.tags.is_none()
        && patch.limit_upload_kib.is_none()
        && patch.limit_download_kib.is_none();
    if unchanged {
        return Ok(overview);
    }
    match ask.state.app.change_host(&visitor.caller, id, patch).await {
        Ok(_) => Ok(overview),
        Err(error) => render(visitor, &seen, form.refuse(error, &[("name_taken", "name")])?),
    }
}

/// What the form changes; what is wrong with it is noted.
fn written(host: &Host, fields: &Fields, form: &mut Form) -> Option<HostPatch> {
    let name = form.take("name", DisplayName::new(fields.text("name")));
    let tags = fields.text("tags").split([',', ' ', '\t', '\n']).filter(|tag| !tag.is_empty());
    let tags = form.take("tags", tags.map(Tag::new).collect::<Result<Vec<_>, _>>());
    let mut limit = |name: &str| {
        let number = fields.given(name).map_or(Ok(0), |text| match text.parse::<u32>() {
            Ok(0) | Err(_) => Err("give a whole number of KiB a second above 0, or nothing for no limit"),
            Ok(kib) => Ok(kib),
        });
        form.take(name, number)
    };
    let (up, down) = (limit("limit_upload_kib"), limit("limit_download_kib"));
    let (name, tags, up, down) = (name?, tags?, up?, down?);
    Some(HostPatch {
        name: Some(name).filter(|name| *name != host.name),
        tags: Some(tags).filter(|tags| *tags != host.tags),
        limit_upload_kib: Some(up).filter(|kib| *kib != host.limit_upload_kib.unwrap_or(0)),
        limit_download_kib: Some(down).filter(|kib| *kib != host.limit_download_kib.unwrap_or(0)),
    })
}

/// Deletes a host, once its name was typed.
async fn delete(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: HostId = ask.id("id", "host")?;
    let seen = ask.state.app.host_seen(id).await?;
    let mut form = of_host(&seen.host);
    if fields.text("typed") != seen.host.name.as_str() {
        form.deny_name("typed", fields.text("typed"), seen.host.name.as_str());
        return render(visitor, &seen, form);
    }
    match ask.state.app.delete_host(&visitor.caller, id).await {
        Ok(()) => Ok(see_other("/")),
        Err(error) => render(visitor, &seen, form.refuse(error, &[])?),
    }
}
