//! The agent's secrets once they are decrypted: the older flat form and the present one.

use restic_manager_agent::secrets::present_form;
use serde_json::Value;

pub(crate) fn run(data: &[u8]) -> bool {
    let raw: Option<Value> = serde_json::from_slice(data).ok();
    let written = match present_form(data) {
        Ok(written) => written,
        Err(why) => {
            names_no_value(&why, raw.as_ref());
            return false;
        }
    };
    let again = present_form(&written).expect("what was written is read");
    assert_eq!(*again, *written, "a bundle that is rewritten changes no more");
    let raw = raw.expect("what was understood is JSON");
    let now: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(now["agent_token"], raw["agent_token"], "the token changed");
    if raw["form"].is_null() {
        let kept = &now["unassigned"];
        assert_eq!((&kept["url"], &kept["password"]), (&raw["repo_url"], &raw["repo_password"]));
        let user = if raw["rest_user"].is_null() { &raw["repo_username"] } else { &raw["rest_user"] };
        assert_eq!((&kept["rest_user"], &kept["rest_password"]), (user, &raw["rest_password"]));
    } else {
        let before = raw["credentials"].as_array().unwrap();
        let kept: Vec<&Value> = before.iter().filter(|known| !known["credential"].is_null()).collect();
        let after = now["credentials"].as_array().unwrap();
        assert_eq!(after.len(), kept.len(), "a credential was lost or made");
        for (before, after) in kept.into_iter().zip(after) {
            let password = |known: &Value| known["credential"]["password"].clone();
            assert_eq!((password(before), &before["revision"]), (password(after), &after["revision"]));
        }
    }
    true
}

/// The reason of a refusal goes into logs: it names a place or the form, and no other word of the bundle.
fn names_no_value(why: &str, raw: Option<&Value>) {
    let place: String = why.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    let known = ["line , column ", "it is no UTF- from byte  on", "it is no object", "it names no form"];
    if known.contains(&place.as_str()) {
        return;
    }
    let form = raw.and_then(|raw| raw["form"].as_str());
    let too_old = form.map(|form| format!("it is of the form {form:?}; this agent is too old for it"));
    assert_eq!(Some(why), too_old.as_deref());
}
