//! Credentials as they are shown: never their secrets.

use restic_manager_core::api::{AdminCredentialView, AttachmentView, Page};
use restic_manager_core::model::{CredentialInfo, CredentialKind};

use crate::ui::{Cell, Grid, Look, View, ago, instant};

/// The credentials of a host, or only those of one kind.
pub(crate) fn table(page: &Page<AttachmentView>, shown: Option<CredentialKind>, look: &Look) -> View {
    let wanted = |credential: &&CredentialInfo| shown.is_none_or(|kind| kind == credential.kind);
    let rows = page.items.iter().flat_map(|view| {
        view.credentials.iter().filter(wanted).map(|credential| {
            vec![
                Cell::from(view.repo_name.as_str()),
                Cell::from(credential.kind.as_str()),
                Cell::from(&credential.url),
                Cell::or_none(credential.rest_user.as_ref()),
                Cell::or_none(Some(credential.env_names.join(", "))),
                Cell::from(ago(credential.updated_at, look.now)),
            ]
        })
    });
    Grid::new(
        &["REPOSITORY", "KIND", "ADDRESS", "REST USER", "VARIABLES", "CHANGED"],
        "No credentials: rmctl creds set HOST",
    )
    .rows(rows)
}

/// The admin credential of a repository, and who receives it.
pub(crate) fn admin(view: &AdminCredentialView, look: &Look) -> View {
    let credential = &view.credential;
    let kept =
        if view.kept_on_host { "on the disk of that host" } else { "nowhere: it is sent for each job" };
    let rest = credential.rest_user.as_ref().map(|user| {
        let password = if credential.has_rest_password { "with a password" } else { "without a password" };
        format!("{user}, {password}")
    });
    let changed =
        format!("{} ({})", instant(credential.updated_at, &look.zone), ago(credential.updated_at, look.now));
    View::Card(vec![
        ("Kind", credential.kind.as_str().into()),
        ("Address", Cell::from(&credential.url)),
        ("REST user", Cell::or_none(rest)),
        ("Variables", Cell::or_none(Some(credential.env_names.join(", ")))),
        ("Received by", Cell::from(view.host_name.as_str())),
        ("Kept", kept.into()),
        ("Changed", changed.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn credentials_of_a_host_as_a_table_and_an_admin_credential_alone() {
        let page: Page<AttachmentView> =
            serde_json::from_str(include_str!("../../../tests/answers/attachments.json")).unwrap();
        let alone: AdminCredentialView =
            serde_json::from_str(include_str!("../../../tests/answers/admin-credential.json")).unwrap();
        let look = fixed_look();
        let views = [
            table(&page, None, &look),
            table(&page, Some(CredentialKind::Admin), &look),
            admin(&alone, &look),
        ];
        insta::assert_snapshot!(View::Stack(views.into()).render(&look));
    }
}
