//! Whether a repository opens with the stored credential.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use restic_manager_core::id::RepoId;
use restic_manager_core::model::CredentialKind;
use restic_manager_core::restic::{
    Access, Command, Ended, Environment, Exit, Facts, GlobalOptions, OutcomeClass, RepoUrl, Sent, Stream,
    classify, parse_cat_config,
};

use super::Finding;
use crate::process::set_environment;
use crate::restic::ResticBinary;
use crate::secrets::Credential;

/// Longer than a slow storage needs, shorter than a person waits.
const DEADLINE: Duration = Duration::from_secs(45);

/// What a credential opens, in words.
pub(super) fn subject(repo: RepoId, kind: CredentialKind) -> String {
    match kind {
        CredentialKind::Repo => format!("repository {repo}"),
        CredentialKind::Admin => format!("repository {repo}, admin credential"),
    }
}

pub(super) async fn look(
    restic: &ResticBinary,
    subject: String,
    credential: &Credential,
    cache_dir: &Path,
) -> Finding {
    let environment = match environment(credential, cache_dir) {
        Ok(environment) => environment,
        Err(why) => {
            let remedy = Some("store the credential on the server again".to_owned());
            return Finding::problem(subject, why, remedy);
        }
    };
    let args = Command::CatConfig.args(restic.capabilities, &GlobalOptions::default());
    let mut command = tokio::process::Command::new(&restic.path);
    command.args(args).current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    set_environment(&mut command, &environment);
    match tokio::time::timeout(DEADLINE, command.output()).await {
        Err(_) => {
            let what = format!("{} did not answer within {} s", credential.secret.url, DEADLINE.as_secs());
            Finding::problem(subject, what, Some("check the network and the storage".to_owned()))
        }
        Ok(Err(error)) => Finding::problem(subject, format!("restic could not be started: {error}"), None),
        Ok(Ok(output)) => judge(subject, restic, credential, &output),
    }
}

fn environment(credential: &Credential, cache_dir: &Path) -> Result<Environment, String> {
    let secret = &credential.secret;
    // The parser's error may repeat the address, which may be wrong in being a secret.
    let url: RepoUrl = secret.url.parse().map_err(|_| "its address is none that restic knows".to_owned())?;
    let access = Access {
        url: &url,
        password: &secret.password,
        rest_user: secret.rest_user.as_deref(),
        rest_password: secret.rest_password.as_ref(),
        variables: &secret.env,
        cache_dir: &cache_dir.to_string_lossy(),
    };
    access.environment().map_err(|error| error.to_string())
}

fn judge(
    subject: String,
    restic: &ResticBinary,
    credential: &Credential,
    output: &std::process::Output,
) -> Finding {
    let url = &credential.secret.url;
    let mut facts = Facts::default();
    for line in output.stderr.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        facts.observe(Stream::Stderr, line);
    }
    let exit = output.status.code().map_or(Exit::Signal(0), Exit::Code);
    let kind = Command::CatConfig.kind();
    let outcome = classify(&Ended {
        kind,
        capabilities: restic.capabilities,
        exit,
        sent: Sent::Nothing,
        facts: &facts,
    });
    if outcome.class != OutcomeClass::Ok {
        return Finding::problem(subject, format!("{url}: {}", outcome.message), outcome.hint);
    }
    match (parse_cat_config(&String::from_utf8_lossy(&output.stdout)), &credential.restic_id) {
        (Ok(config), Some(expected)) if config.id != *expected => {
            let what = format!("{url} is another repository ({}) than the one that is known", config.id);
            Finding::problem(subject, what, Some("correct the address on the server".to_owned()))
        }
        (Ok(_), _) => Finding::ok(subject, format!("{url} opens")),
        (Err(error), _) => Finding::problem(subject, format!("{url}: {error}"), None),
    }
}
