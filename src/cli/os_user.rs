//! Who runs a command, as the operating system has it.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The user of this process; with whom `sudo` let be root, where it did.
pub(super) fn os_user() -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = fs::metadata("/proc/self").ok().map(|own| own.uid());
    told(uid, &passwd, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn told(uid: Option<u32>, passwd: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let name = match uid {
        Some(uid) => name_of(uid, passwd).map_or_else(|| format!("uid {uid}"), str::to_owned),
        // No /proc: what the shell says.
        None => variable("USER").or_else(|| variable("LOGNAME"))?,
    };
    // Anybody can set the variable; of root, who may write what it likes, it is believed.
    match variable("SUDO_USER").filter(|_| name == "root") {
        Some(by) => Some(format!("{by} as root")),
        None => Some(name),
    }
}

/// The name that `/etc/passwd` has for a number: `name:password:uid:…`.
fn name_of(uid: u32, passwd: &str) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_who_it_is_and_variables_say_it_of_root_only() {
        const PASSWD: &str = "root:x:0:0::/:/bin/sh\nbroken\nann:x:1000:1000::/:/bin/sh\n";
        let told = |uid, variables: &[(&str, &str)]| {
            let variable =
                |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
            told(uid, PASSWD, variable)
        };
        let sudo = [("USER", "eve"), ("SUDO_USER", "bob")];
        assert_eq!(told(Some(1000), &sudo).as_deref(), Some("ann"), "not whom the variables name");
        assert_eq!(told(Some(0), &sudo).as_deref(), Some("bob as root"));
        assert_eq!(told(Some(0), &[]).as_deref(), Some("root"));
        assert_eq!(told(Some(7), &[]).as_deref(), Some("uid 7"));
        assert_eq!([told(None, &sudo).as_deref(), told(None, &[]).as_deref()], [Some("eve"), None]);
    }
}
